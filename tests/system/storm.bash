# shellcheck shell=bats
# SPDX-License-Identifier: MIT
# Storms: thousands of clients, files from 4 KiB to 200 MiB, readers from as fast as possible to very slow, and meanwhile
# decant is killed, restarted and replaced at random moments, and systemd reloaded and executed anew. Each client must
# get every byte and a clean end, or else a reset; few may get a reset, and none anything else. 252-storm.bats and
# 257-storm.bats are this file under two names.
#
# What is drawn follows from a seed, which is printed, and goes to build/storms with all the figures; DECANT_SEED=N has the
# same drawn again, although no storm is ever quite the same.

load decantd

# What is served, by which share of the clients: each its own port, one decant for all.
sizes=(4096 307200 1048576 20971520 209715200)
shares=(300 400 200 45 3)
ports=(7070 7071 7072 7073 7074)

# serve_all: one process for several ports, as in the manual. In $targets, what load is to know of them.
serve_all() {
    local i sockets=()

    mkdir "$machine/srv/storm"
    targets=()
    for i in "${!sizes[@]}"; do
        make_payload "${sizes[i]}" "$machine/srv/storm/size${sizes[i]}"
        targets+=("tcp$((i % 2 ? 6 : 4))=${ports[i]},${shares[i]},$machine/srv/storm/size${sizes[i]}")
        sockets+=("decantd@${ports[i]}.socket")
        printf '%s\n' '[Socket]' "FileDescriptorName=size${sizes[i]}" "Service=$service_unit" |
            drop_in "decantd@${ports[i]}.socket"
    done
    in_service Environment=DECANT_FILE=/srv/storm BindReadOnlyPaths=/srv/storm "Sockets=${sockets[*]}"
    within systemctl start "${sockets[@]}"
}

# kill_after MILLISECONDS [SIGNAL]: SIGKILL for whichever decant is there then, or comes next. Not through systemd, so that
# it is that moment.
kill_after() {
    local victim

    sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"
    wait_for 30 found_victim
    kill "-${2-KILL}" "$victim" 2>/dev/null || return 0 # it had ended by then
    kills=$((kills + 1))
}

found_victim() {
    victim=$(host_pid) || has_ended "${client_pids[load]}"
}

# What happens next: mostly a SIGKILL, after up to $pause milliseconds, and sometimes at once
strike() {
    case $((RANDOM % 20)) in
    0 | 1) within systemctl restart "$service_unit" && restarts=$((restarts + 1)) ;;
    2) upgrade && within systemctl restart "$service_unit" && restarts=$((restarts + 1)) ;;
    3) kill_after $((RANDOM % pause)) TERM ;;
    4) within systemctl daemon-reload && reloads=$((reloads + 1)) ;;
    5) within systemctl daemon-reexec && reloads=$((reloads + 1)) ;;
    6 | 7) kill_after $((RANDOM % 20)) ;;
    *) kill_after $((RANDOM % pause)) ;;
    esac
}

# value KEY: of what load has counted
value() {
    grep -oP "(^| )$1=\K\S+" "$T/load"
}

# storm SECONDS LOAD-OPTION...: which must have their end in that time
storm() {
    local kills=0 restarts=0 reloads=0

    seed=${DECANT_SEED:-$((BASHPID + ${EPOCHREALTIME/[.,]/} % 1000000))}
    RANDOM=$((seed % 32768))
    nsenter -t "$leader" -n "$tools/load" --seed="$seed" --timeout="$1" --pauses "${@:2}" "${targets[@]}" \
        >"$T/load" 2>&1 3>&- &
    client_pids[load]=$!
    until has_ended "${client_pids[load]}"; do
        strike
    done
    wait_for_client load
    printf '# systemd %s, seed %s: %s kills, %s restarts, %s reloads; %s\n' "$version" "$seed" $kills $restarts $reloads \
        "$(cat "$T/load")" | tee -a "$tools/../storms" >&3
    for key in short wrong refused timeout; do
        [[ $(value $key) == 0 ]] || fail "$key=$(value $key), seed $seed"
    done
    (($(value whole) + $(value reset) == $(value connections))) || fail "some are missing, seed $seed"
    (($(value whole) * 100 >= $(value connections) * 99)) || fail "too many resets, seed $seed"
    ((kills >= 10)) || fail "only $kills kills"
}

# Nothing is left but what the present decant has of its own and the files that are served, nothing has failed, and
# the journal has a record of each client. Those are missing whose decant was killed before systemd had its table to keep,
# which is asked for when the first transfer is to be kept: at the beginning of a storm.
calm() {
    wait_for 20 is_calm
    fetch "$1" "$2"
    wait_for 20 has_ends $(($(value connections) * 99 / 100)) || fail "$(transfers | wc -l) ends"
    nothing_failed
    is decantd@7070.socket ActiveState active
}

is_calm() {
    local kept

    kept=$(property "$service_unit" NFileDescriptorStore)
    ((kept <= own + ${#sizes[@]}))
}

has_ends() {
    (($(transfers | wc -l) + $(lost_lines) >= $1))
}

@test "a storm of SIGKILL, restarts, upgrades, reloads: 2000 clients of five files" {
    serve_all
    pause=500
    storm 150 --connections=2000 --clients=120 --last=0.05/12 --fast=40
    calm tcp4=7070 "$machine/srv/storm/size4096"
}

# Most of these are never kept, and what counts is how few are hit.
@test "a storm, and 5000 quick clients of one small file and of one that is not quite so small" {
    sizes=(4096 307200)
    shares=(80 20)
    serve_all
    pause=300
    storm 100 --connections=5000 --clients=8 --gap=0/30
    calm tcp4=7070 "$machine/srv/storm/size4096"
}
