# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests of the resident decant's units share: its options, its process, and what systemd keeps for it.

load common

# in_service LINE...: a drop-in for the service
in_service() {
    printf '%s\n' '[Service]' "$@" | drop_in "$service_unit"
}

# with_options OPTION...: the service starts decant with those instead of the shipped ones
with_options() {
    in_service ExecStart= "ExecStart=/usr/local/sbin/decant $* \${DECANT_FILE}"
}

# manual_drop_in WORDS: the example of the manual, of the section on this mode, that comes after those words
manual_drop_in() {
    awk -v words="$1" '
        /^\.Ss / { here = $0 == ".Ss systemd, resident" }
        here && index($0, words) { found = 1 }
        found && /^\.Ed/ { exit }
        found && inside
        found && /^\.Bd -literal/ { inside = 1 }' "$root/src/decant.8" | grep . ||
        fail "the manual has no example after '$1'"
}

main_pid() {
    pid=$(property "$service_unit" MainPID)
    [[ $pid != 0 ]] || fail "$service_unit does not run"
}

# Bit 14 is SIGTERM, which waits for signalfd(2) to be read.
has_taken_term() {
    (($(sed -n 's/^ShdPnd:\t/0x/p' "$machine/proc/$pid/status") & 1 << 14)) && return 1
    return 0
}

# begin_stop COMMAND...: does not wait for its end, and decant is about to stop then
begin_stop() {
    main_pid
    within systemctl --no-block "$@"
    wait_for 10 is "$service_unit" ActiveState deactivating
    wait_for 10 has_taken_term
}

# waiting NAME: a client that is connected while a decant ends, and is left to the next one
waiting() {
    client "$1" tcp4=7070 "touch=$T/connected.$1" drain
    wait_for 10 test -e "$T/connected.$1"
}

# were FIELD N: the records have so many different values of it
were() {
    local found

    found=$(records | grep -oE "\"$1\":\"[^\"]*\"" | sort -u | wc -l)
    [[ $found == "$2" ]] || fail "$found different $1, not $2:" "$(records | tail -n 5)"
}

# load_port OPTION...: many clients in the machine's network
load_port() {
    nsenter -t "$leader" -n timeout 150 "$tools/load" "$@" tcp4=7070 >"$T/load" 3>&- ||
        fail "not all of them were served: $(cat "$T/load")"
}

# What PID 1 and decant have to complain of.
no_complaints() {
    ! within journalctl --boot --no-pager --output=cat --priority=notice | grep -i decant || fail 'complaints'
}

status_is() {
    [[ $(property "$service_unit" StatusText) =~ ^$1$ ]]
}

# --- Its death, and the next one ---------------------------------------------------------------

# What decant itself keeps in the store, before any transfer: the table, and both ends of a pipe.
own=3

# keeps N: so many descriptors are in the store. With transfers that is $own, one for each version of the file, and one for
# each transfer.
keeps() {
    [[ $(property "$service_unit" NFileDescriptorStore) == "$1" ]]
}

# kept_midway NAME...: as client_midway, and each outlives its decant from now on. All get the same file.
kept_midway() {
    local name address=4

    for name; do
        client_midway "$name" "tcp$address=7070"
        address=$((10 - address))
    done
    wait_for 10 keeps $((own + 1 + $#))
}

is_another_process() {
    local now

    now=$(property "$service_unit" MainPID)
    [[ $now != 0 && $now != "$1" ]] && is "$service_unit" ActiveState active
}

# dies_by COMMAND...: which ends decant, and the next one is there then. Their ids are in $before and $pid.
dies_by() {
    main_pid
    before=$pid
    "$@"
    wait_for 20 is_another_process "$before"
    main_pid
}

kill_main() {
    within systemctl kill --kill-whom=main -s "$1" "$service_unit"
}

# The id that the main process has out here, where systemd need not be asked.
host_pid() {
    pgrep -P "$leader" -x decant
}

# The old one lies beside it under another name, as a package manager does it.
upgrade() {
    local sbin=$machine/usr/local/sbin

    cp "$sbin/decant" "$sbin/decant.new"
    echo "$RANDOM" >>"$sbin/decant.new" # ELF says itself how long it is
    mv "$sbin/decant.new" "$sbin/decant"
}

# transfers: their records; there are others on what became of decant itself
transfers() {
    records | grep -E '"MESSAGE":"[^"]* bytes sent[,: "]' || true
}

has_transfers() {
    [[ $(transfers | wc -l) == "$1" ]]
}

# transfers_say N PRIORITY REGEX: as records_say, of transfers alone
transfers_say() {
    wait_for 10 has_transfers "$1" || fail "$(records | tail -n 20)"
    [[ $(transfers | grep "\"PRIORITY\":\"$2\"" | grep -cE -- "\"MESSAGE\":\"$3") == "$1" ]] ||
        fail "not $1 records of priority $2 that say '$3':" "$(records | tail -n 20)"
}

# decant_says N PRIORITY REGEX: N records on decant itself
has_said() {
    [[ $(records | grep "\"PRIORITY\":\"$2\"" | grep -cE -- "\"MESSAGE\":\"$3") == "$1" ]]
}

decant_says() {
    wait_for 10 has_said "$@" || fail "not $1 of priority $2: '$3':" "$(records | tail -n 20)"
}

# all_resumed [TIMES]: every record is that of a whole transfer that went through so many deaths
all_resumed() {
    local n

    n=$(transfers | wc -l)
    transfers_say "$n" 6 "complete: .*, resumed ${1-once}\""
}

# keeps_nothing: what the unit's comment has for an admin who wants transfers to end
keeps_nothing() {
    in_service FileDescriptorStoreMax=0 "$@"
}

# exits STATUS: the instants at which a decant ended with that, as systemd calls it, in seconds
exits() {
    within journalctl --boot --no-pager --output=short-monotonic _PID=1 |
        sed -nE "s|^\[ *([0-9.]+)\].*decantd@7070\.service: Main process exited, code=[a-z]+, status=$1.*|\1|p"
}

has_exits() {
    (($(exits "$1" | wc -l) >= $2))
}

# exits_pause STATUS N SECONDS: that N of them took longer than that. Not a bound on how fast anything is, but on how slow.
exits_pause() {
    exits "$1" | awk -v n="$2" -v least="$3" 'NR == 1 { first = $1 } NR == n { exit !($1 - first > least) }' ||
        fail 'too fast:' "$(exits "$1")"
}

# failed_starts N: the program could not be executed
failed_starts() {
    has_exits 203/EXEC "$1"
}

# ten_midway: as client_midway, with a store that has room for fewer
ten_midway() {
    local i

    for i in 1 2 3 4 5 6 7 8 9 10; do
        client_midway "c$i"
    done
    wait_for 10 keeps 8
}

ten_have_all() {
    local i

    for i in 1 2 3 4 5 6 7 8 9 10; do
        client_has_all "c$i" "$payload"
    done
}

# A journal that does not keep up gets fewer lines, and is told how many.
lost_lines() {
    records | sed -nE 's/.*"MESSAGE":"([0-9]+) lines were lost.*/\1/p' | awk '{ n += $1 } END { print n + 0 }'
}

# many_outlive N [LINE]...: so many clients that do not read, then a restart and a SIGKILL, after which they do; with those
# lines in the service, and timeouts that none of it comes near. The restart comes first since it hurries: without it,
# decant takes its time with so many, to be easy on PID 1.
many_outlive() {
    local many=$1

    make_payload 400000
    in_service "${@:2}" TimeoutStopSec=150s ExecStart= \
        "ExecStart=/usr/local/sbin/decant --max-connections=$many --stall-timeout=0 --stop-timeout=2min \${DECANT_FILE}"
    enable
    nsenter -t "$leader" -n "$tools/load" --connections=0 --stalled="$many" --stalled-rcvbuf=4K --stalled-finish \
        --stall-file="$T/all" --file="$payload" --timeout=200 --source=127.0.0.1/16 tcp4=7070 >"$T/load" 2>&1 3>&- &
    client_pids[load]=$!
    wait_for 60 test -e "$T/all" || fail "$(cat "$T/load")"
    dies_by within timeout 150 systemctl restart "$service_unit"
    decant_says 1 5 "$many transfers are left to the next decant"
    decant_says 1 6 "resumed: $many transfers of the decant before"
    keeps $((own + 1 + many)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    dies_by kill_main KILL
    decant_says 2 6 "resumed: $many transfers of the decant before"
    kill -TERM "${client_pids[load]}"
    wait "${client_pids[load]}" || fail "$(cat "$T/load")"
    unset 'client_pids[load]'
    [[ $(cat "$T/load") == "connections=$many whole=$many "* ]] || fail "$(cat "$T/load")"
    wait_for 60 keeps $((own + 1))
    (($(transfers | wc -l) + $(lost_lines) == many)) || fail "$(transfers | wc -l) records, $(lost_lines) lost"
    fetch tcp4=7070
    nothing_failed
}
