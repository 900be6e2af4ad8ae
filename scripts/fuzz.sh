#!/usr/bin/env bash
# Runs the fuzz targets one after the other, SECONDS each: scripts/fuzz.sh SECONDS [target …]
# What libFuzzer finds is kept in target/fuzz/corpus and tried again next time; fuzz/corpus, which the
# tests replay, is only read. An input that does harm stops everything and stays in target/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=($(ls fuzz/corpus))
folder=${CARGO_TARGET_DIR:-$PWD/target}/fuzz

export CARGO_TARGET_DIR=$folder PATH=$PATH:$folder/tools/bin
# Sanitizers want a nightly toolchain, or to be told that this one will do.
export RUSTC_BOOTSTRAP=1

command -v cargo-fuzz >/dev/null || {
    echo "fuzz: installing cargo-fuzz into $folder/tools"
    cargo install --quiet --locked --root "$folder/tools" cargo-fuzz
}

for target in "${targets[@]}"; do
    mkdir -p "$folder/corpus/$target"
    log=$folder/$target.log
    if cargo fuzz run "$target" "$folder/corpus/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="$folder/$target-" -print_final_stats=1 >"$log" 2>&1; then
        awk -v target="$target" '/number_of_executed_units/ { print target ": " $2 " inputs, no harm" }' "$log"
    else
        tail -40 "$log" >&2
        echo "fuzz: $target failed; put the input into fuzz/corpus/$target when it is mended" >&2
        exit 1
    fi
done
