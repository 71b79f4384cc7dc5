# SPDX-License-Identifier: MIT
# A flaw in decant is an attacker in a process that holds a file and a client. The sandbox is there for that day only:
# nothing looks different without it, until then. So this is the day: a decant of the same objects that enters the
# sandbox as decant does, and then tries what an attacker would, see attack.c.

load attack

filters=(single resident resident-path resident-directory store store-path store-directory)
# Those of a build without libsystemd, which takes neither a name nor a file from its supervisor.
filters_of_musl=(single resident-path store-path)

@test "these are all filters" {
    [[ $("$maker" filters "$(uname -m)" | paste -sd' ') == "${filters[*]}" ]]
}

@test "each attack comes to what the table says" {
    local filter

    for filter in "${filters[@]}"; do
        comes_to_the_table "$filter"
    done
}

@test "static, with musl: each attack comes to what the table says" {
    local filter

    musl
    for filter in "${filters_of_musl[@]}"; do
        comes_to_the_table "$filter"
    done
}

# What would fail in any case proves nothing.
@test "without the sandbox they succeed" {
    local name

    attack resident-path each --sandbox=off
    client_has_all one "$file"
    decant_gives 0
    while read -r name without _; do
        [[ $without != yes ]] || [[ $(came_to "$name") == succeeded ]] ||
            fail "$name came to '$(came_to "$name")' although nothing stops it"
    done < <(rows)
    [[ $(cat "$T/forged") == *forged* ]] || fail 'no record was forged'
}

@test "every system call that is not in the list is caught" {
    local filter

    for filter in "${filters[@]}"; do
        calls_are_those_of_the_list "$filter"
    done
}

@test "static, with musl: every system call that is not in the list is caught" {
    local filter

    musl
    for filter in "${filters_of_musl[@]}"; do
        calls_are_those_of_the_list "$filter"
    done
}

# The client is not told a lie about the file: it had linger on, and there is nobody left to take it off.
@test "what is caught ends the process: its client is reset, and a record names the call" {
    local filter

    for filter in "${filters[@]}"; do
        attack "$filter" execve
        client_is_refused one
        decant_gives 159 # SIGSYS
        says 'sandbox: the system call execve, '
        count 1 .
    done
}

@test "what is caught resets all clients of the process" {
    several 2
    T=$BATS_TEST_TMPDIR
    make_file attack-execve 3000000
    decant=$attack
    start "${several[@]}" -- "$file"
    client one drain
    client two drain
    client_is_refused one
    client_is_refused two
    decant_gives 159
}

# Where an attack is refused and nothing else, the process goes on: syslog(3) looks for syslogd like that.
@test "what is refused harms no client" {
    attack single socket-unix
    client_has_all one "$file"
    decant_gives 0
    says 'attack socket-unix: refused, EPERM'
}
