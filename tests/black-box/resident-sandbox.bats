# SPDX-License-Identifier: MIT
# A process that cannot open anything any more is safe, and useless after the next release of its file: each
# version that rename(2) puts in place has to be opened anew. A rule of landlock that names the file goes on
# naming the old one, and one that names its directory says nothing of where a link leads tomorrow. So here the
# file is replaced in all the ways that people replace files, inside the whole sandbox.

load common

# The sanitizers' build runs without a sandbox, so this is always the other one.
decant=${decant/\/asan\//\/}
always=(--sandbox=require)

# locked PATH [HAND-OPTION...]: a resident decant for it, which stays
locked() {
    start "${systemd[@]}" "${@:2}" -- --idle-exit=1h "$1"
}

stop() {
    kill -TERM "$decant_pid"
    decant_gives "${1-0}"
}

# new_version PATH: as the README says
new_version() {
    head -c 100000 /dev/urandom >"$1.new"
    mv "$1.new" "$1"
}

@test "rename(2), ten times" {
    local i

    make_file file 100000
    locked "$file"
    fetch one
    for i in {1..10}; do
        new_version "$file"
        fetch one
    done
    stop
}

@test "the file is taken away, and comes again" {
    make_file file 100000
    locked "$file"
    fetch one
    rm "$file"
    client two drain
    client_is_refused two
    new_version "$file"
    fetch three
    stop 66
}

@test "written in place" {
    make_file file 100000
    locked "$file"
    fetch one
    head -c 50000 /dev/urandom >"$file"
    fetch two
    stop
}

@test "FILE without a directory, or with . and .. in its path" {
    local path

    mkdir "$T/a" "$T/b"
    make_file a/file 100000
    cd "$T/a"
    for path in file ./file ../b/../a/file; do
        rm -f "$T/address"
        locked "$path"
        fetch one
        new_version "$file"
        fetch two
        stop
    done
}

@test "a link to a file elsewhere, of which new versions come there" {
    mkdir "$T/links" "$T/files"
    make_file files/file 100000
    ln -s "$T/files/file" "$T/links/link"
    locked "$T/links/link"
    fetch one
    new_version "$file"
    fetch two
    stop
}

@test "a link that is pointed to another file of the same directory" {
    mkdir "$T/links" "$T/files"
    make_file files/two 100000
    make_file files/one 100000
    ln -s "$T/files/one" "$T/links/link"
    locked "$T/links/link"
    fetch one
    ln -s "$T/files/two" "$T/links/new"
    mv "$T/links/new" "$T/links/link"
    fetch two "$T/files/two"
    stop
}

@test "a directory that is a link, and versions in it" {
    mkdir "$T/release"
    ln -s release "$T/current"
    make_file release/file 100000
    locked "$T/current/file"
    fetch one
    new_version "$file"
    fetch two
    stop
}

# swung: the link in $T/links leads to another directory than when decant was started
swung() {
    mkdir "$T/links" "$T/old" "$T/new"
    make_file new/file 20000000
    make_file old/file 20000000
    ln -s "$T/old/file" "$T/links/link"
    start "${systemd[@]}" --supervise="$T/starts" -- --idle-exit=1h "$@" "$T/links/link"
    fetch one
    midway two
    ln -s "$T/new/file" "$T/links/other"
    mv "$T/links/other" "$T/links/link"
    client three drain
    client_is_refused three
    count 1 "^decant: '$T/links/link' leads to another directory than when decant was started"
}

# It must neither serve the old file for ever, nor reset each client for ever.
@test "a link that is pointed to another directory: the next decant can read there" {
    swung
    go
    client_has_all two "$file"
    fetch four "$T/new/file"
    [[ $(cat "$T/starts") == 2 ]] || fail "$(cat "$T/starts") starts, not 2"
}

@test "the same, and who runs has no more than --stop-timeout" {
    swung --stop-timeout=300ms
    wait_for 20 lines 1 '^decant: stopped: '
    go
    client_gets two 'reset *'
    fetch four "$T/new/file"
}

@test "root goes on reading the file of somebody else, though it has given up its capabilities" {
    [[ $(id -u) == 0 ]] || skip 'needs root'
    make_file file 100000
    chown nobody "$file"
    chmod 600 "$file"
    locked "$file"
    fetch one
    new_version "$file"
    chown nobody "$file"
    chmod 600 "$file"
    fetch two
    stop
}

@test "a directory as FILE: new versions of each, and no link leads out of it" {
    mkdir "$T/files"
    make_file secret 1000
    make_file files/name 100000
    start --at=0:null --at=3:listening --listen-fds=1 --listen-fdnames=name -- --idle-exit=1h "$T/files"
    fetch one
    new_version "$file"
    fetch two
    ln -s inner "$T/files/link"
    make_file files/inner 100000
    mv "$T/files/link" "$T/files/name"
    fetch three
    ln -s "$T/secret" "$T/files/link"
    mv "$T/files/link" "$T/files/name"
    client four drain
    client_is_refused four
    says 'it leads out of the served directory'
    stop 66
}

# Inside a service with RestrictSUIDSGID= it does not exist.
@test "a directory as FILE without openat2(2): new versions, but no links" {
    mkdir "$T/files"
    make_file files/name 100000
    trace openat2 -e inject=openat2:error=ENOSYS
    start --at=0:null --at=3:listening --listen-fds=1 --listen-fdnames=name -- --idle-exit=1h "$T/files"
    fetch one
    new_version "$file"
    fetch two
    make_file files/inner 100000
    ln -sf inner "$T/files/name"
    client three drain
    client_is_refused three
    says 'name a regular file'
    stop 66
}

@test "a file that was handed over, and is written to" {
    make_file file 100000
    start --at=0:null --at=3:listening --at=4:file="$file" --listen-fds=2 --listen-fdnames=decant.socket:data -- \
        --idle-exit=1h
    fetch one
    head -c 200000 /dev/urandom >"$file"
    fetch two
    stop
}
