#!/usr/bin/env bash
# The licences of the crates whose code is in the module, which must go where the module goes.
set -euo pipefail
cd "$(dirname "$0")/.."

# Name, version and licence of each that is not of this repository; procedural macros leave nothing of theirs.
crates=$(cargo tree --package dirty-streams --locked --edges normal,no-proc-macro --prefix none --no-dedupe --format '{p}|{l}' |
    grep -v ' (/' | sed -E 's/^([^ ]+) v([^ |]+)[^|]*\|(.*)$/\1 \2 \3/' | sort -u)
echo "The module contains code of Rust's standard library (MIT OR Apache-2.0) and of these crates:"
echo
echo "$crates" | awk '{ name = $1 " " $2; $1 = $2 = ""; printf "  %-28s%s\n", name, $0 }'
cargo_home=${CARGO_HOME:-~/.cargo} # as cargo finds it, also where HOME is not set
declare -A printed # by the hash of a text, whose it was first
while read -r name version _; do
    found=
    for file in "$cargo_home"/registry/src/*/"$name-$version"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE}*; do
        [ -f "$file" ] || continue
        found=1
        what="$name $version: $(basename "$file")"
        hash=$(tr -d '[:space:]' <"$file" | sha256sum)
        if [ -n "${printed[$hash]:-}" ]; then
            printf '\n==== %s is the same as %s\n' "$what" "${printed[$hash]}"
            continue
        fi
        printed[$hash]=$what
        printf '\n==== %s\n\n' "$what"
        tr -d '\r' <"$file"
    done
    [ -n "$found" ] || echo "licences: $name $version has no licence file; its Cargo.toml names the licence" >&2
done <<<"$crates"
