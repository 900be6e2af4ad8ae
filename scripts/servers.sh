#!/usr/bin/env bash
# Gets the servers of Debian 13, Redis 8.0 and Valkey 8.1, whatever Debian this is: servers.sh folder.
# Nothing is installed: the packages are unpacked in the folder, and folder/redis-8 and folder/valkey-8
# run what is in there with its own libraries. The packages come from where this machine's apt gets its
# own, checked by Debian's keys as ever. Says nothing when all is there; fails when it cannot be had.
set -euo pipefail

die() { echo "servers: $*" >&2; exit 1; }

folder=$1
suite=trixie
packages=(redis-tools valkey-tools) # the servers themselves are in there, too
runs() { "$folder/$1" --version; }
if { runs redis-8 && runs valkey-8; } >/dev/null 2>&1; then exit 0; fi

for program in apt-get dpkg-deb; do
    command -v $program >/dev/null || die "there is no $program here, so the packages of Debian 13 cannot be had"
done

mirror=$("$(dirname "$0")/mirror.sh") || die 'apt knows no mirror of this release, so the packages of Debian 13 cannot be had'

# What is left by a run that was broken off goes first.
rm -rf "$folder"/{apt,root}
mkdir -p "$folder"/apt/{lists,archives}/partial "$folder/root"
folder=$(cd "$folder" && pwd)
: >"$folder/apt/status"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ ! -e $keys ] || signed_by="[signed-by=$keys] "
echo "deb ${signed_by:-}$mirror $suite main" >"$folder/apt/sources.list"

# apt with nothing installed and no source but this one, so that it finds every library a server needs.
apt=(apt-get -qq -o APT::Install-Recommends=false -o APT::Sandbox::User= -o Dir::State="$folder/apt"
    -o Dir::State::status="$folder/apt/status" -o Dir::State::lists="$folder/apt/lists"
    -o Dir::Cache="$folder/apt" -o Dir::Cache::archives="$folder/apt/archives"
    -o Dir::Etc::sourcelist="$folder/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30)
get() {
    "${apt[@]}" update && "${apt[@]}" --yes --download-only install "${packages[@]}"
}
echo "servers: getting ${packages[*]} of Debian 13 into $folder"
get >"$folder/log" 2>&1 || { cat "$folder/log" >&2; die 'the packages of Debian 13 cannot be had'; }
for package in "$folder"/apt/archives/*.deb; do dpkg-deb --extract "$package" "$folder/root"; done
rm -r "$folder/apt"

# wrapper name program: a script that runs the program by the loader and with the libraries it came with.
# Without exec, who starts and stops it would not have the server's own process id.
wrapper() {
    cat >"$folder/$1" <<END
#!/bin/sh
exec "$loader" --library-path "$libraries" --argv0 "$2" "$folder/root/usr/bin/$2" "\$@"
END
    chmod +x "$folder/$1"
    runs "$1" >>"$folder/log" 2>&1 || { cat "$folder/log" >&2; die "$2 does not start"; }
}
loader=$(find "$folder/root/usr/lib" -name 'ld-linux*.so.*' | head -n 1)
[ -n "$loader" ] || die 'libc6 of Debian 13 has no loader'
libraries=$(dirname "$loader")
# The program looks at its name to know what it is.
ln -sf redis-check-rdb "$folder/root/usr/bin/redis-server"
ln -sf valkey-check-rdb "$folder/root/usr/bin/valkey-server"
wrapper redis-8 redis-server
wrapper valkey-8 valkey-server
