# SPDX-License-Identifier: MIT
# What is served can change while nobody runs, and the options can, too. A client was promised one unchanged
# file, from one byte to another: the next process must keep that promise or break the connection, and never
# mix it with what the name, or the command line, says by then.

load common
load store

# changed COMMAND...: the file changes while nobody runs
changed() {
    make_file file 5000000
    cp "$file" "$T/before"
    keep -- "$file"
    parked one
    between "$@"
    wait_for 20 is_ready
    go
}

whole() {
    client_has_all one "$T/before"
    reports 'complete: .*: 5000000 of 5000000 bytes sent, 5000000 acknowledged, .*, resumed once$'
}

# is_reset WORDS: what it has got may be of both files, where one was written over the other
is_reset() {
    client_gets one 'reset *'
    reports "$1"
    stored 0
}

replace() {
    head -c 3000000 /dev/urandom >"$T/new"
    mv "$T/new" "$file"
}

@test "replaced: whole, and the next gets the new one" {
    changed replace
    whole
    fetch two
    wait_for 20 is_logged 'FDSTOREREMOVE=1 FDNAME=@file-1 removed 1$'
    stops_with 0
}

@test "deleted: whole, and the next is reset, until there is one again" {
    delete() {
        rm "$file"
    }
    changed delete
    whole
    client two drain
    client_is_refused two
    cp "$T/before" "$file"
    fetch three
    stops_with 66
}

@test "deleted, and it cannot even be looked at: it bears the name of a directory" {
    hide() {
        rm "$file"
        mkdir "$file"
    }
    changed hide
    whole
    client two drain
    client_is_refused two
    stops_with 66
}

@test "renamed, linked and of another mode: whole" {
    rename() {
        chmod 600 "$file"
        ln "$file" "$T/link"
        mv "$file" "$T/elsewhere"
    }
    changed rename
    whole
}

@test "truncated: a reset" {
    changed truncate -s 1000000 "$T/file"
    is_reset 'file shrank: .*, resumed once: '
    fetch two
    stops_with 65
}

@test "truncated behind what has been sent: a reset" {
    changed truncate -s 4999999 "$T/file"
    is_reset 'file (shrank|changed): '
    stops_with 65
}

@test "overwritten: a reset" {
    overwrite() {
        head -c 5000000 /dev/urandom >"$T/other"
        dd if="$T/other" of="$file" conv=notrunc status=none
    }
    changed overwrite
    is_reset 'file changed: .*, resumed once: '
    fetch two
    stops_with 65
}

@test "truncated and written anew: a reset" {
    write_anew() {
        head -c 5000000 /dev/urandom >"$file"
    }
    changed write_anew
    is_reset 'file changed: .*, resumed once: '
    fetch two
    stops_with 65
}

@test "touched: a reset" {
    changed touch "$T/file"
    is_reset 'file changed: '
    stops_with 65
}

append() {
    echo more >>"$file"
}

@test "appended to: a reset" {
    changed append
    is_reset 'file changed: '
    fetch two
    stops_with 65
}

@test "changed, when only the client's end is waited for: a reset" {
    make_file file 2000000
    keep -- "$file"
    client one --rcvbuf=4K read=1988000 "wait-file=$T/go" drain
    wait_for 30 all_is_queued 12000
    stored 1
    between touch "$file"
    go
    client_gets one 'reset *'
    reports 'file changed: '
}

@test "changed, when the client has everything: that was before" {
    make_file file 2000000
    cp "$file" "$T/before"
    keep -- --drain-timeout=1h "$file"
    client one read=2000000 "touch=$T/has-all" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/has-all"
    stored 1
    wait_for 30 is_finished
    between truncate -s 0 "$file"
    go
    client_has_all one "$T/before"
    reports 'complete: '
    stops_with 0
}

is_finished() {
    [[ $(queues) == 05' '* ]]
}

# --- Other options ----------------------------------------------------------------------------

@test "--allow-changes is for those to whom it was promised: first with, then without" {
    make_file file 5000000
    cp "$file" "$T/before"
    keep -- --allow-changes "$file"
    parked one
    next_args "$file"
    between append
    midway two
    go
    client_has_all one "$T/before"
    client_has_all two "$file"
    stops_with 0
}

@test "--allow-changes is for those to whom it was promised: first without, then with" {
    make_file file 5000000
    cp "$file" "$T/before"
    keep -- "$file"
    parked one
    next_args --allow-changes "$file"
    between append
    wait_for 20 is_ready
    fetch two
    go
    client_gets one 'reset *'
    client_has_start one "$T/before"
    reports 'file changed: '
    stops_with 65
}

@test "--allow-changes: a log that grows from process to process, and each has what there was" {
    local i

    make_file file 5000000
    keep -- --allow-changes "$file"
    for i in 1 2 3 4; do
        cp "$file" "$T/before.$i"
        parked "$i"
        between append
        wait_for 20 is_ready
    done
    go
    for i in 1 2 3 4; do
        client_has_all "$i" "$T/before.$i"
    done
    stored 0
    stops_with 0
}

@test "another range: who is served keeps his, who comes has the new one" {
    make_file file 5000000
    keep -- --offset=1000 --length=4000000 "$file"
    head -c 4001000 "$file" | tail -c +1001 >"$T/first"
    head -c 4500000 "$file" | tail -c +500001 >"$T/second"
    parked one
    next_args --offset=500000 --length=4000000 "$file"
    kills
    midway two
    stored 2
    next_args "$file"
    kills
    fetch three
    go
    client_has_all one "$T/first"
    client_has_all two "$T/second"
    reports 'complete: .*: 4000000 of 4000000 bytes sent, 4000000 acknowledged, .*, resumed 2 times$'
    reports 'complete: .*: 4000000 of 4000000 bytes sent, 4000000 acknowledged, .*, resumed once$'
}

@test "a range beyond the end: those who are served go on" {
    make_file file 5000000
    keep -- "$file"
    parked one
    next_args --offset=6000000 "$file"
    between
    go
    client_has_all one "$file"
    client two drain
    client_is_refused two
}

@test "another FILE: who is served keeps his" {
    make_file other 4000000
    make_file file 5000000
    keep -- "$file"
    parked one
    next_args "$T/other"
    kills
    fetch two "$T/other"
    go
    client_has_all one "$file"
    reports "complete: $file to .*, resumed once$"
}

@test "fewer --max-connections: all that are served go on, and the next is refused until there is room" {
    make_file file 5000000
    keep -- --max-connections=5 "$file"
    parked one
    parked two
    parked three
    next_args --max-connections=2 "$file"
    kills
    count 1 '^decant: resumed: 3 transfers '
    client four drain
    client_is_refused four
    reports 'refused: .*--max-connections'
    go
    client_has_all one "$file"
    client_has_all two "$file"
    client_has_all three "$file"
    stored 0
    fetch five
}

@test "more --max-connections: all of them can be served" {
    local i

    make_file file 5000000
    keep -- --max-connections=2 "$file"
    parked one
    parked two
    next_args --max-connections=12 "$file"
    kills
    for i in {1..10}; do
        midway "$i"
    done
    stored 12
    next_args --max-connections=1 "$file"
    kills
    next_args "$file"
    kills
    go
    for i in one two {1..10}; do
        client_has_all "$i" "$file"
    done
    stored 0
    says_not 'refused: '
}

@test "--max-connections-per-source counts those of before" {
    make_file file 5000000
    keep -- --max-connections-per-source=2 "$file"
    parked one
    parked two
    next_args --max-connections-per-source=1 "$file"
    kills
    count 1 '^decant: resumed: 2 transfers '
    client three drain
    client_is_refused three
    client four --from=127.0.0.2 drain
    client_has_all four "$file"
    go
    client_has_all one "$file"
    client_has_all two "$file"
    stored 0
    fetch five
}

# --- Several files ----------------------------------------------------------------------------

@test "three generations of the file at once" {
    local i

    make_file file 5000000
    keep -- "$file"
    for i in 1 2 3; do
        make_file "new" 5000000
        cp "$file" "$T/before.$i"
        mv "$file" "$T/file"
        file=$T/file
        client "$i" --rcvbuf=64K read=100000 "touch=$T/midway.$i" "wait-file=$T/go.$i" drain
        stored "$i"
    done
    kept @witness @table @file-{1,2,3} @0 @1 @2
    kills
    kept @witness @table @file-{1,2,3} @0 @1 @2
    touch "$T/go.2"
    client_has_all 2 "$T/before.2"
    wait_for 20 is_logged 'FDSTOREREMOVE=1 FDNAME=@file-2 removed 1$'
    kept @witness @table @file-{1,3} @0 @2
    kills
    touch "$T/go.1" "$T/go.3"
    client_has_all 1 "$T/before.1"
    client_has_all 3 "$T/before.3"
    fetch four "$T/before.3"
    stored 0
    wait_for 20 is_logged 'FDSTOREREMOVE=1 FDNAME=@file-1 removed 1$'
    logged_not 'FDNAME=@file-[^1-3]' # the present one has been opened already
}

@test "a generation after each death, and no number is given twice" {
    local i

    make_file file 5000000
    keep -- "$file"
    for i in {1..6}; do
        parked "$i"
        kills
        head -c 5000000 /dev/urandom >"$T/new"
        ln -f "$T/file" "$T/before.$i"
        mv "$T/new" "$T/file"
    done
    go
    for i in {1..6}; do
        client_has_all "$i" "$T/before.$i"
    done
    [[ -z $(grep -o 'FDNAME=@file-[0-9a-f]* \[.*stored' "$T/log" | sort | uniq -d) ]] || fail "$(cat "$T/log")"
    stored 0
}

@test "a directory, and two sockets: each goes on with its file" {
    local file

    mkdir "$T/files"
    make_file files/one 5000000
    make_file files/two 4000000
    keep --listen=tcp4,one --listen=tcp4,two -- "$T/files"
    parked first
    at 2 parked second
    kills
    fetch third "$T/files/two"
    go
    client_has_all first "$T/files/one"
    client_has_all second "$T/files/two"
    reports "complete: $T/files/one to .*, resumed once$"
    reports "complete: $T/files/two to .*, resumed once$"
    stops_with 0
}

@test "a directory, and one of two sockets is gone: its client gets the rest all the same" {
    local file

    mkdir "$T/files"
    make_file files/one 5000000
    make_file files/two 4000000
    keep --listen=tcp4,one --listen=tcp4,two -- "$T/files"
    parked first
    at 2 parked second
    tell unlisten 1
    kills
    fetch third "$T/files/two"
    go
    client_has_all first "$T/files/one"
    client_has_all second "$T/files/two"
    stops_with 0
}

@test "a directory, and a file that is gone: its client gets the rest all the same" {
    local file

    mkdir "$T/files"
    make_file files/one 5000000
    make_file files/two 4000000
    cp "$T/files/one" "$T/before"
    keep --listen=tcp4,one --listen=tcp4,two -- "$T/files"
    parked first
    at 2 parked second
    between rm "$T/files/one"
    fetch third "$T/files/two"
    go
    client_has_all first "$T/before"
    client_has_all second "$T/files/two"
}

@test "two sockets, IPv4 and UNIX, of one file" {
    make_file file 5000000
    keep --listen=tcp4 --listen=unix="$T/socket" -- "$file"
    parked first
    at 2 parked second
    kept @witness @table @file-1 @0 @1
    kills
    fetch third
    go
    client_has_all first "$file"
    client_has_all second "$file"
}

@test "a file that systemd opens (OpenFile=), and another one under its name at the restart" {
    make_file file 5000000
    cp "$file" "$T/before"
    keep --open-file="$file,data" --
    parked one
    between replace
    wait_for 20 is_ready
    fetch two
    go
    client_has_all one "$T/before"
    reports 'complete: .*, resumed once$'
    stops_with 0
}

@test "a file that systemd opens (OpenFile=), and cannot at the restart" {
    make_file file 5000000
    keep --open-file="$file,data" --
    parked one
    between mv "$file" "$T/elsewhere"
    wait_for 20 is_ready
    client two drain
    client_is_refused two
    go
    client_has_all one "$T/elsewhere"
}

# systemd takes both for one, and would keep only the first.
@test "a file that systemd opens (OpenFile=), and that is touched: who comes then is not kept, and gets all" {
    make_file file 5000000
    keep --open-file="$file,data" -- --stop-timeout=1h
    parked one
    touch "$file"
    midway two
    tell kill TERM
    wait_for 20 is_logged STOPPING=1
    go
    client_has_all two "$file"
    client_gets one 'reset *' # as it would be without the other
    stored 0
    fetch three
}

# Where PID 1 may not use kcmp(2), as in many a container, two openings of one file are the same to it.
@test "a PID 1 that cannot tell two openings of a file from each other" {
    local i

    make_file file 5000000
    keep --no-kcmp -- "$file"
    for i in 1 2 3; do
        parked "$i"
        kills
    done
    parked 4
    kills TERM
    go
    for i in 1 2 3 4; do
        client_has_all "$i" "$file"
    done
    stored 0
}
