# SPDX-License-Identifier: MIT
# The pages of a file that sendfile(2) has queued are still the file's: who writes to it changes what
# the client gets, and who truncates it ends the transfer early, which most servers take for its end.
# And a missing file used to look like an empty one, since the connection was closed cleanly.

load common

# changed_midway WHAT [OPTION...]: WHAT is done to $file in the middle of the transfer
changed_midway() {
    make_file file 20000000
    cp "$file" "$T/before"
    start_midway "${systemd[@]}" -- "${@:2}" "$file"
    "$1"
    go
}

# Until the clock of the file system has moved on, a change does not show, so it is done again.
overwritten() {
    local before

    before=$(stat -c %.9Y "$file")
    until [[ $(stat -c %.9Y "$file") != "$before" ]]; do
        head -c 100 /dev/urandom | dd of="$file" bs=100 seek=199000 conv=notrunc status=none
    done
}
truncated() { truncate -s 10000000 "$file"; }
emptied() { : >"$file"; }
appended_to() { echo more >>"$file"; }
replaced() { head -c 20000000 /dev/zero >"$T/new" && mv "$T/new" "$file"; }
deleted() { rm "$file"; }
linked() { ln "$file" "$T/link"; }
chmoded() { chmod 600 "$file"; }
moved() { mv "$file" "$T/elsewhere"; }
touched() { touch -d 2001-01-01 "$file"; }

is_reset() {
    client_gets one 'reset *'
    decant_gives 65
    says "^decant: $1: .* of 20000000 bytes sent"
}

is_whole() {
    client_has_all one "$T/before"
    decant_gives 0
}

@test "truncated" { changed_midway truncated && is_reset 'file shrank'; }
@test "emptied" { changed_midway emptied && is_reset 'file shrank'; }
@test "overwritten in place" { changed_midway overwritten && is_reset 'file changed'; }
@test "appended to" { changed_midway appended_to && is_reset 'file changed'; }
@test "its time set back" { changed_midway touched && is_reset 'file changed'; }
@test "replaced by rename" { changed_midway replaced && is_whole; }
@test "deleted" { changed_midway deleted && is_whole; }
@test "linked" { changed_midway linked && is_whole; }
@test "chmoded" { changed_midway chmoded && is_whole; }
@test "moved" { changed_midway moved && is_whole; }

@test "appended to, --allow-changes: as much as was promised" {
    changed_midway appended_to --allow-changes && is_whole
}
@test "overwritten in place, --allow-changes: goes out" {
    changed_midway overwritten --allow-changes
    client_gets one 'eof 20000000'
    decant_gives 0
}
@test "truncated, --allow-changes" {
    changed_midway truncated --allow-changes && is_reset 'file shrank'
}
@test "appended to, and only a part was promised" {
    changed_midway appended_to --length=10000000
    client_gets one 'reset *'
    decant_gives 65
}
@test "truncated behind what was promised, --allow-changes" {
    changed_midway truncated --allow-changes --length=10000000
    client_gets one 'eof 10000000'
    decant_gives 0
}

# The client has no room for the tail, so it is still in the send queue when the file changes.
@test "overwritten while the tail waits in the send queue: no clean end" {
    start_with_tail
    appended_to
    go
    client_gets one 'reset *'
    decant_gives 65
}

# That window is closed by the status, not by a reset.
@test "overwritten after the end was sent, before the client has it: 65" {
    start_with_tail_and_end
    appended_to
    go
    client_gets one 'eof 16000'
    decant_gives 65
    says 'file changed: .*16000 of 16000 bytes sent'
}

@test "the same, over a UNIX socket" {
    make_file file 16000
    start "${systemd[@]}" --listen=unix="$T/socket" -- "$file"
    client one wait-end "touch=$T/midway" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/midway"
    appended_to
    go
    client_gets one 'eof 16000'
    decant_gives 65
}

# refused FILE STATUS WORDS: the client is reset, and WORDS say why
refused() {
    start "${systemd[@]}" -- "$1"
    client one drain
    client_is_refused one
    decant_gives "$2"
    says "$3"
}

@test "a missing file" { refused "$T/none" 66 "^decant: cannot open '$T/none' .*No such file.*create it"; }
@test "a file in a missing directory" { refused "$T/none/file" 66 'No such file'; }
@test "a file below a file" {
    make_file file 1
    refused "$file/file" 66 'Not a directory'
}
@test "a directory without a file of the socket's name" {
    refused "$T" 66 "^decant: cannot open '$T/$fdname' .*No such file.*FileDescriptorName=$fdname, "
}
@test "a directory of a directory" {
    mkdir "$T/$fdname"
    refused "$T" 66 "'$T/$fdname' is a directory; name a regular file"
}
@test "a directory, and a socket without a name" {
    start "${tcpserver[@]}" -- "$T"
    client one drain
    client_is_refused one
    decant_gives 66
    says "^decant: '$T' is a directory"
}
@test "a directory with a file of the socket's name" {
    make_file "$fdname" 300000
    start "${systemd[@]}" -- "$T"
    client one drain
    client_has_all one "$file"
    decant_gives 0
    says "^decant: complete: $file to "
}
@test "a device" { refused /dev/zero 66 'is a device; name a regular file'; }
@test "a FIFO without a writer does not hold decant" {
    mkfifo "$T/fifo"
    refused "$T/fifo" 66 'is a pipe; name a regular file'
}
@test "a socket in the file system" {
    need socat
    socat UNIX-LISTEN:"$T/socket",unlink-close=0 /dev/null 3>&- &
    own_pids+=($!)
    wait_for 10 test -S "$T/socket"
    refused "$T/socket" 66 'cannot open'
}
@test "an empty name" { refused '' 64 'FILE is empty.*DECANT_FILE'; }
@test "a dangling symbolic link" {
    ln -s nowhere "$T/link"
    refused "$T/link" 66 'No such file'
}
@test "a symbolic link to itself" {
    ln -s link "$T/link"
    refused "$T/link" 66 'cannot open'
}
@test "a file of /proc, whose size is said to be 0" {
    refused /proc/version 66 'holds more than the 0 bytes'
}
@test "a file of /sys, whose size is said to be 4096" {
    local file=/sys/kernel/mm/transparent_hugepage/enabled

    [[ -r $file ]] || skip "$file is missing"
    start "${systemd[@]}" -- "$file"
    client one drain
    client_gets one 'reset *'
    wait_for_decant
    [[ $status == 6[56] ]] || fail "decant gave $status"
}

# Root reads everything, unless it has given that up.
@test "an unreadable file" {
    make_file file 1000
    chmod 0 "$file"
    if [[ $EUID == 0 ]]; then
        need setpriv
        wrap=(setpriv --inh-caps=-all --bounding-set="-dac_override,-dac_read_search")
    fi
    start "${systemd[@]}" -- "$file"
    client one drain
    client_is_refused one
    decant_gives 66
    says 'cannot open .* as user [0-9]+: Permission denied; let this user read it'
}

@test "no FILE" {
    start "${systemd[@]}" --
    client one drain
    client_is_refused one
    decant_gives 64
    says 'FILE is missing'
}
@test "two FILEs" {
    start "${systemd[@]}" -- "$T/a" "$T/b"
    client one drain
    client_is_refused one
    decant_gives 64
    says "one FILE, please, not 2"
}
