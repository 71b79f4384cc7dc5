# SPDX-License-Identifier: MIT
# The rest of resident-store-walk.bats: other sockets, and the death that comes in the middle of the start that was to
# make up for the death before, or of the way out.

load common
load store

@test "a slow reader over IPv6" { walks 100 170 3 --warm --listen=tcp6 walk slow; }
@test "a slow reader over a UNIX socket" { walks 50 80 1 --warm --listen=unix walk slow; }
@test "a slow reader over MPTCP" { need_mptcp && walks 100 170 5 --warm --listen=mptcp walk slow; }

@test "four clients at once" {
    kill_many --stride=$((5 * stride)) walk slow talks half-closed draining
    at_least 250 kills 5
}

@test "two in a row: a transfer, and then the start that was to go on with it" {
    kill_many --stride="$stride" --twice --warm walk slow
    at_least 180 kills
    kill_many --stride="$stride" --twice walk finishing
    at_least 100 kills
}

@test "SIGTERM, and SIGKILL while it leaves everything to the next" {
    walks 25 0 1 stop stops stops-at-the-end stops-after-the-end fits-held
    walks 10 0 1 --listen=unix stop stops stops-after-the-end fits-held
    kill_many --twice stop stops fits-held
}

@test "the start of the next, at each system call, with three clients" {
    walks 150 0 1 startup stops stops-at-the-end stops-after-the-end
    kill_many --stride=$((2 * stride)) --listen=unix startup stops stops-after-the-end
}

@test "behind every fifth instruction of a transfer" {
    case $(uname -m) in
    x86_64 | aarch64) ;;
    *) skip "what a system call of $(uname -m) looks like is not known here" ;;
    esac
    kill_many --stride="$stride" --every=5 --warm walk fast
    at_least 200 kills
    kill_many --stride="$stride" --every=5 walk fits
    at_least 50 kills
    kill_many --stride="$stride" --every=10 stop stops fits-held
    at_least 100 kills
}
