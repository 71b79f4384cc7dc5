# SPDX-License-Identifier: MIT
# Each supervisor hands its sockets over in a way of its own, and each way can be got wrong by one
# line of a configuration file. A server that takes what it finds then writes its file, or its error
# message, into something that is no client; and a client that is there is told that an empty file is
# all there was.

load common

# works HAND-OPTION...: the client gets the file, and not one byte more
works() {
    start "$@" -- "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
}

file_of() {
    make_file file 2000000
}

@test "systemd: descriptor 3" { file_of && works "${systemd[@]}"; }
@test "systemd without names" { file_of && works --at=0:null --at="3:$socket" --listen-fds=1; }
@test "systemd with descriptor 0 closed" {
    file_of && works --at=0:closed --at="3:$socket" --listen-fds=1
}
@test "systemd with 0, 1 and 2 closed" {
    file_of && works --at=0:closed --at=1:closed --at=2:closed --at="3:$socket" --listen-fds=1
}
@test "systemd, StandardInput=socket: 0 and 1" { file_of && works "${tcpserver[@]}"; }
@test "systemd, the same socket on 0, 1 and 3" {
    file_of && works --at="0:$socket" --at="1:$socket" --at="3:$socket" --listen-fds=1
}
@test "systemd, the same socket on 0, 1, 2 and 3" {
    file_of && works --at="0:$socket" --at="1:$socket" --at="2:$socket" --at="3:$socket" --listen-fds=1
}
@test "tcpserver, socat: 0 and 1" { file_of && works "${tcpserver[@]}"; }
@test "inetd: 0, 1 and 2" { file_of && works "${inetd[@]}"; }
@test "inetd over IPv6" { file_of && works "${inetd[@]}" --listen=tcp6; }
@test "inetd over a UNIX socket" { file_of && works "${inetd[@]}" --listen=unix="$T/socket"; }
@test "descriptor 0 alone" { file_of && works --at="0:$socket" --at=1:closed --at=2:closed; }
@test "LISTEN_FDS is meant for another process, and 0 is a socket" {
    file_of && works --at="0:$socket" --listen-fds=1 --listen-pid=1
}

# given HAND-OPTION...: the file comes as a descriptor, and there is no FILE
given() {
    make_file file 2000000
    start --at="3:$socket" "$@" --
    client one drain
    client_has_all one "$file"
    decant_gives 0
    says "complete: $file to "
}

@test "OpenFile=: the file behind the socket" {
    given --at=0:null --at=4:file="$T/file" --listen-fds=2 --listen-fdnames=connection:data
}
@test "OpenFile=, the names out of step" {
    given --at=0:null --at=4:file="$T/file" --listen-fds=2 --listen-fdnames=data:connection
}
@test "OpenFile=, the file before the socket" {
    make_file file 2000000
    start --at=0:null --at=3:file="$file" --at="4:$socket" --listen-fds=2 --
    client one drain
    client_has_all one "$file"
    decant_gives 0
}
@test "StandardInput=file:" { given --at=0:file="$T/file" --listen-fds=1; }
@test "OpenFile= and StandardInput=socket" {
    given --at="0:$socket" --at="1:$socket" --at=4:file="$T/file" --listen-fds=2
}
@test "a handed-over file whose position has moved" {
    make_file file 2000000
    start --at=0:null --at="3:$socket" --at=4:moved-file="$file" --listen-fds=2 --
    client one drain
    client_has_all one "$file"
    decant_gives 0
}

# given_wrongly STATUS WORDS HAND-OPTION... -- ARGUMENT...
given_wrongly() {
    start --at=0:null --at="3:$socket" "${@:3}"
    client one drain
    client_is_refused one
    decant_gives "$1"
    says "$2"
}

@test "FILE beside a handed-over file" {
    make_file file 10
    given_wrongly 64 'leave one of the two out' --at=4:file="$file" --listen-fds=2 -- "$file"
}
@test "a handed-over file that is open for writing only" {
    make_file file 10
    given_wrongly 66 'not open for reading' --at=4:write-only="$file" --listen-fds=2 --
}
@test "two handed-over files" {
    make_file file 10
    given_wrongly 76 'descriptors 4 and 5 are both regular files' \
        --at=4:file="$file" --at=5:file="$file" --listen-fds=3 --
}
@test "FILE beside an accidental file on descriptor 0" {
    make_file file 1000
    : >"$T/accident"
    start --at=0:file="$T/accident" --at="3:$socket" --listen-fds=1 -- "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
}
@test "neither FILE nor file" { given_wrongly 64 'FILE is missing' --listen-fds=1 --; }

# wrong WORDS HAND-OPTION...: no client; 76, and a way to do it right
wrong() {
    make_file file 100
    start "${@:2}" -- "$file"
    decant_gives 76
    says "^decant: .*$1"
    says 'systemd-socket-activate --accept -l [0-9]+ decant FILE'
    [[ $(said | wc -l) == 1 ]] || fail "more than one line"
    [[ ! -s $T/out ]] || fail "something on standard output"
}

@test "nothing: /dev/null on 0" { wrong 'descriptor 0 is a device' --at=0:null; }
@test "0 is closed" { wrong 'descriptor 0 is closed' --at=0:closed; }
@test "0 is a pipe" { wrong 'descriptor 0 is a pipe' --at=0:pipe; }
@test "0 is a terminal" { wrong 'descriptor 0 is a terminal' --at=0:terminal; }
@test "0 is a file" { wrong 'descriptor 0 is a regular file' --at=0:file=/etc/passwd; }
@test "0 is a datagram socket" { wrong 'descriptor 0 is .*no stream socket' --at=0:datagram; }
@test "0 is a seqpacket socket" { wrong 'descriptor 0 is .*no stream socket' --at=0:seqpacket; }
@test "0 is not connected" { wrong 'descriptor 0 is .*neither connected nor listening' --at=0:unconnected; }
@test "3 is a datagram socket" { wrong 'descriptor 3 .*no stream' --at=3:datagram --listen-fds=1; }
@test "3 is not connected" { wrong 'neither connected nor listening' --at=3:unconnected --listen-fds=1; }
@test "3 is a pipe" { wrong 'descriptor 3 is a pipe' --at=3:pipe --listen-fds=1; }
@test "3 is a file, and there is no socket" {
    wrong 'regular file was handed over, but no socket' --at=3:file=/etc/passwd --listen-fds=1
}
@test "LISTEN_FDS=0" { wrong "LISTEN_FDS is '0'" --at=0:null --listen-fds=0; }
@test "LISTEN_FDS is for another process, and 0 is none" {
    wrong 'descriptor 0 is a device.*LISTEN_PID' --at=0:null --at=3:pair --listen-fds=1 --listen-pid=1
}

@test "LISTEN_FDS is empty" {
    wrong_beside_client "LISTEN_FDS is ''.*$how" --at="3:$socket" --listen-fds=
}
@test "LISTEN_FDS=0, and a client is there" {
    wrong_beside_client "LISTEN_FDS is '0'.*$how" --at="3:$socket" --listen-fds=0
}
@test "LISTEN_FDS is negative" {
    wrong_beside_client "LISTEN_FDS is '-1'.*$how" --at="3:$socket" --listen-fds=-1
}
@test "LISTEN_FDS is huge" {
    wrong_beside_client "LISTEN_FDS is '99999999999999999999'.*$how" \
        --at="3:$socket" --listen-fds=99999999999999999999
}
@test "LISTEN_FDS is 2^31 - 1" {
    wrong_beside_client "LISTEN_FDS is '2147483647'.*$how" --at="3:$socket" --listen-fds=2147483647
}
@test "LISTEN_FDS is a word" {
    wrong_beside_client "LISTEN_FDS is 'one'.*$how" --at="3:$socket" --listen-fds=one
}
@test "LISTEN_FDS is a number and a word" {
    wrong_beside_client "LISTEN_FDS is '1x'.*$how" --at="3:$socket" --listen-fds=1x
}
@test "LISTEN_FDS is more than there are" {
    wrong_beside_client "LISTEN_FDS is '2'.*$how" --at="3:$socket" --listen-fds=2
}
@test "the same socket twice" {
    wrong_beside_client 'descriptor 4 is the same socket as descriptor 3' \
        --at="3:$socket" --at="4:$socket" --listen-fds=2
}
@test "a terminal beside a client" {
    wrong_beside_client "descriptor 4 is a terminal.*$how" --at="3:$socket" --at=4:terminal --listen-fds=2
}
@test "a datagram socket beside a client" {
    wrong_beside_client "descriptor 4 is .*no stream.*$how" --at="3:$socket" --at=4:datagram --listen-fds=2
}

@test "a gap before the second client" {
    wrong_beside_client "LISTEN_FDS is '2'" --at=3:closed --at="4:$socket" --listen-fds=2
}
@test "LISTEN_FDS is meant for the shell that started us" {
    wrap=(sh -c '"$@"; exit $?' sh)
    wrong_beside_client 'LISTEN_FDS is meant for another process' --at=0:null --at="3:$socket" --listen-fds=1
}

@test "the client is on 2 alone: no message" {
    make_file file 100
    start --at=0:null --at=1:null --at="2:$socket" -- "$file"
    client one drain
    client_is_refused one
    decant_gives 76
}

# silent_on_socket STATUS ARGUMENT...: descriptor 2 is the client, and must not get the message
silent_on_socket() {
    start "${inetd[@]}" -- "${@:2}"
    client one drain
    client_is_refused one
    decant_gives "$1"
}

@test "inetd: no message on the socket for a missing file" { silent_on_socket 66 "$T/none"; }
@test "inetd: nor for a bad option" { silent_on_socket 64 --nonsense "$T/none"; }
@test "inetd: nor for a missing FILE" { silent_on_socket 64; }
@test "inetd: nor for --help" { silent_on_socket 64 --help; }
@test "inetd: nor for --version" { silent_on_socket 64 --version; }
@test "inetd: nor for a directory" { silent_on_socket 66 "$T"; }
@test "inetd: nor for an offset beyond the end" {
    make_file file 10
    silent_on_socket 64 --offset=11 "$file"
}
@test "inetd: nor for a stalled client" {
    make_file file 20000000
    start "${inetd[@]}" -- --stall-timeout=300ms "$file"
    client one "wait-file=$T/go" drain
    decant_gives 75
    go
    client_gets one 'reset *'
    client_has_start one "$file"
}
@test "inetd: nor for a file that shrinks" {
    make_file file 20000000
    cp "$file" "$T/before"
    start_midway "${inetd[@]}" -- "$file"
    truncate -s 1000 "$file"
    go
    client_gets one 'reset *'
    client_has_start one "$T/before"
    decant_gives 65
}
@test "systemd: a message on 2, and not on the socket that is 0 and 1" {
    start --at="0:$socket" --at="1:$socket" -- "$T/none"
    client one drain
    client_is_refused one
    decant_gives 66
    says 'cannot open'
}
@test "systemd, StandardError=socket: 2 and 3 are the client, and 0 is not" {
    start --at=0:null --at="2:$socket" --at="3:$socket" --listen-fds=1 -- "$T/none"
    client one drain
    client_is_refused one
    decant_gives 66
}
@test "systemd, StandardError=socket, and a file that is sent" {
    make_file file 2000000
    works --at=0:null --at="2:$socket" --at="3:$socket" --listen-fds=1
}
@test "descriptor 2 is closed: nothing else becomes it" {
    start --at=0:null --at=2:closed --at="3:$socket" --listen-fds=1 -- "$T/none"
    client one drain
    client_is_refused one
    decant_gives 66
}
