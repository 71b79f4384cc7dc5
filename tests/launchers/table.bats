# SPDX-License-Identifier: MIT
# A launcher whose file lacks a case, or a launcher that the README names and nobody has run, would look tested.

load cases

@test "every launcher runs every case" {
    local file case cases

    cases=$(declare -F | sed -n 's/^declare -f \(case_.*\)/\1/p')
    [[ $(wc -l <<<"$cases") -ge 16 ]]
    for file in "$here"/*.bats; do
        [[ $file != */table.bats ]] || continue
        for case in $cases; do
            case $case:$file in
            # It keeps no socket that the next decant could have, and its file says what comes of that.
            case_killed:*activate-wait.bats | case_idle:*activate-wait.bats | case_missing_often:*activate-wait.bats)
                continue
                ;;
            case_idle:*-wait.bats | case_renamed:*-wait.bats | case_missing_often:*-wait.bats) ;;
            case_idle:* | case_renamed:* | case_missing_often:*) continue ;; # of the resident decant
            case_unreadable:*inetd*.bats | case_as_nobody:*inetd*.bats) ;;
            case_unreadable:* | case_as_nobody:*) continue ;; # their commands name no user
            esac
            grep -q "^@test \"$(basename "$file" .bats): .*{ $case; }" "$file" || fail "$file has no $case"
        done
    done
}

# The launchers that the README names and that cannot be run here, with the reason.
@test "busybox inetd is no applet of Debian's busybox" {
    need busybox
    ! busybox --list | grep -x -e inetd -e tcpsvd || fail 'it is one now: give it a file of its own'
}
