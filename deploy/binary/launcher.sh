#!/bin/sh
# aiosfu @VERSION@ for @PLATFORM@, in one file: this script, and behind it an archive with Python, codecs and pages.
# At the first start it unpacks the archive into a folder of its own, 200 MB, and each start then runs what is there.
# The folder is made in the first of these that is set and can be written to and run from:
# $AIOSFU_UNPACK_DIR, $CACHE_DIRECTORY (systemd), $XDG_CACHE_HOME, $HOME/.cache, $TMPDIR, /tmp.
set -eu
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}

fail() {
    echo "aiosfu: $1" >&2
    exit 1
}

# Whether a folder can be had that is ours alone and from which programs may be run (/tmp may be mounted noexec).
usable() {
    mkdir -p -m 700 "$1" 2>/dev/null || return 1
    if [ -L "$1" ] || [ ! -O "$1" ]; then return 1; fi # somebody else made it, in a folder open to all
    probe=$1/.probe-$$
    (umask 077 && printf '#!/bin/sh\n' >"$probe") 2>/dev/null && chmod 700 "$probe" || return 1
    if [ -x "$probe" ]; then rm -f "$probe"; else rm -f "$probe" && return 1; fi
}

is_whole() {
    [ -x "$1/aiosfu" ] && [ "$(find "$1" -type f 2>/dev/null | wc -l)" -eq @FILES@ ]
}

unpack() {
    new=$(mktemp -d "$1/.unpacking-XXXXXX") || fail "cannot write to $1"
    trap 'rm -rf "$new"' EXIT
    trap 'exit 129' HUP INT TERM
    tail -n +@LINES@ "$0" | tar -xzof - -C "$new" || fail "cannot unpack into $1: are there 250 MB of room?"
    is_whole "$new" || fail "$0 is damaged: copy it again"
    # What is there is damaged: a cleaner of old files was at it. Moved first, as a start beside this one may look.
    if [ -e "$2" ] && ! is_whole "$2"; then mv -T "$2" "$new.old" 2>/dev/null && rm -rf "$new.old"; fi
    mv -T "$new" "$2" 2>/dev/null || is_whole "$2" || fail "cannot make $2"
    rm -rf "$new"
    trap - EXIT HUP INT TERM
}

cache=${CACHE_DIRECTORY:-} # systemd's may be several, separated by colons
home=${HOME:-}
if [ -n "${AIOSFU_UNPACK_DIR:-}" ]; then
    usable "$AIOSFU_UNPACK_DIR" || fail "AIOSFU_UNPACK_DIR: expected a folder of this user's own that programs may be run from, got $AIOSFU_UNPACK_DIR"
    base=$AIOSFU_UNPACK_DIR
else
    base=
    for folder in "${cache%%:*}" "${XDG_CACHE_HOME:+$XDG_CACHE_HOME/aiosfu}" "${home:+$home/.cache/aiosfu}" \
        "${TMPDIR:-/tmp}/aiosfu-$(id -u)" "/tmp/aiosfu-$(id -u)"; do
        if [ -n "$folder" ] && usable "$folder"; then
            base=$folder
            break
        fi
    done
    [ -n "$base" ] || fail "found no folder to unpack into: set AIOSFU_UNPACK_DIR to one with 250 MB of room that programs may be run from"
fi
folder=$base/@ID@
is_whole "$folder" || unpack "$base" "$folder"
exec "$folder/aiosfu" "$@"
