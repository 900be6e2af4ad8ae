#!/usr/bin/env bash
# Unpacks packages of another Debian into folder/root: unpack.sh suite folder [--alone] package…
#
# With all that they depend on, unless they are to come alone. A package of another architecture is named package:arm64. Nothing is installed; the folder is emptied first. The
# packages come from where this machine's apt gets its own, checked by Debian's keys as ever. Fails, and says why, when
# they cannot be had; folder/log has more.
set -euo pipefail

suite=$1 folder=$2
shift 2
get=(--yes --download-only install)
if [ "$1" = --alone ]; then
    get=(download)
    shift
fi
die() { echo "unpack: $*" >&2; exit 1; }

for program in apt-get dpkg-deb; do
    command -v $program >/dev/null || die "there is no $program here, so the packages of $suite cannot be had"
done
mirror=$("$(dirname "$0")/mirror.sh") || die "apt knows no mirror of this release, so the packages of $suite cannot be had"
# What is left by a run that was broken off goes first.
rm -rf "${folder:?}"
mkdir -p "$folder"/{root,apt/{lists,archives}/partial}
folder=$(cd "$folder" && pwd)
state=$folder/apt
: >"$state/status"
keys=/usr/share/keyrings/debian-archive-keyring.gpg signed_by=''
[ ! -e $keys ] || signed_by="[signed-by=$keys] "
echo "deb $signed_by$mirror $suite main" >"$state/sources.list"
# apt with nothing installed and no source but this one, so that it finds everything that the packages need.
apt=(apt-get -qq -o APT::Install-Recommends=false -o APT::Sandbox::User= -o Dir::State="$state"
    -o Dir::State::status="$state/status" -o Dir::State::lists="$state/lists"
    -o Dir::Cache="$state" -o Dir::Cache::archives="$state/archives"
    -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30)
for package; do
    [[ $package != *:* ]] || apt+=(-o "APT::Architectures::=$(dpkg --print-architecture)" -o "APT::Architectures::=${package#*:}")
done
cd "$state/archives"
if ! { "${apt[@]}" update && "${apt[@]}" "${get[@]}" "$@"; } >"$folder/log" 2>&1; then
    cat "$folder/log" >&2
    die "the packages of $suite cannot be had: $*"
fi
for package in *.deb; do dpkg-deb --extract "$package" "$folder/root"; done
rm -r "$state"
