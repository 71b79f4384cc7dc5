# SPDX-License-Identifier: MIT
# A SIGKILL comes whenever it likes: between the call that has sent the end and the note that it was sent, between
# the end of a transfer and its way out of the store. So it is sent behind each system call of a transfer in turn, in
# front of each, and in between, and the next process finishes. `killer` does that, and says how many there were.

load common
load store

@test "a file that fits at once" {
    walks 9 0 1 walk fits
    resets_only_up_to 8
}

@test "a file that fits at once, and is not read at once" {
    walks 15 0 1 walk fits-unread
    resets_only_up_to 8
}

@test "a file that takes three turns" { walks 35 10 1 walk fast; }
@test "a file that takes three turns, when the store is known" {
    walks 50 70 1 --warm walk fast
    resets_only_up_to 25
}

@test "a slow reader" { walks 100 70 1 walk slow; }
@test "a slow reader, when the store is known" {
    walks 100 170 1 --warm walk slow
    resets_only_up_to 25
}

@test "a client that talks first" { walks 80 50 1 walk talks; }
@test "a client that has closed its side" { walks 80 50 1 walk half-closed; }
@test "a client that has no room for the last bytes" { walks 100 70 1 walk finishing; }
@test "a client that has everything, and stays" { walks 70 50 1 walk draining; }
