# SPDX-License-Identifier: MIT
# Whoever wants to know that the program is what its source says builds it again and compares. Where the
# directory, the day or the user's locale find their way into it, that tells nothing.

load common

# copy DIRECTORY: the source, as a user unpacks it
copy() {
    mkdir -p "$T/$1"
    cp -r "$root/Makefile" "$root/README.md" "$root/LICENSE" "$root/src" "$root/units" "$T/$1"
}

# build DIRECTORY VARIABLE=VALUE...: and installed in $T/DIRECTORY.tree
build() {
    make -C "$T/$1" --silent DESTDIR="$T/$1.tree" "${@:2}" all install >"$T/log" 2>&1 || fail "$(cat "$T/log")"
}

# tree DIRECTORY: the names, modes, links and bytes of what was installed
tree() {
    (cd "$T/$1.tree" && find . -printf '%P %y %m %l\n' | LC_ALL=C sort &&
        find . -type f -exec sha256sum {} + | LC_ALL=C sort)
}

# Two builds that have nothing in common but the source. What else differs is the time: of the files here, and
# that of the build, since there is a second between the two at the least.
builds_the_same() {
    local other=a/much/longer/name/than.the.first

    copy one
    build one BUILD=out/build "$@"
    copy "$other"
    find "$T/$other" -exec touch --date='2001-02-03 04:05:06' {} +
    (
        umask 077
        export TZ=Pacific/Kiritimati LC_ALL=C.UTF-8 LANG=de_DE.UTF-8 USER=somebody HOME=$T HOSTNAME=elsewhere
        wait_for 5 later "$T/one.tree"
        build "$other" BUILD="$T/elsewhere" --jobs=3 "$@"
    )
    cmp "$T/one.tree/usr/local/sbin/decant" "$T/$other.tree/usr/local/sbin/decant" || fail 'the programs differ'
    diff <(tree one) <(tree "$other") || fail 'what is installed differs'
    ! grep -F "$T" "$T/one/out/build/decant" || fail 'the place of the build is in it'
}

later() {
    [[ $(date +%s) -gt $(stat -c %Y "$1") ]]
}

@test "two builds in different places and times are the same: gcc" {
    need gcc
    builds_the_same CC=gcc
}

@test "two builds in different places and times are the same: clang" {
    need clang
    builds_the_same CC=clang
}

@test "two builds in different places and times are the same: static, with musl" {
    need musl-gcc
    builds_the_same CC=musl-gcc SYSTEMD=no STATIC=yes
}
