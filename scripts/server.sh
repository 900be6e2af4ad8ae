# shellcheck shell=bash
# Sourced by the scripts that need a server of their own: with the module on a free port, in a temporary
# folder; both go when the script ends. Sets `port` and `folder`.

export LC_ALL=C # bytes are bytes, and numbers have a decimal point
unset REDISCLI_AUTH

die() { echo "$(basename "$0" .sh): $*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
module=${DIRTY_MODULE:-${CARGO_TARGET_DIR:-$root/target}/release/libdirty_streams.so}
[ -e "$module" ] || die "no module at $module; build it first: make build"

folder=$(mktemp -d)
server=
server_options=() # besides, for launch

stop() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    rm -rf "$folder"
}
trap stop EXIT

cli() { redis-cli -p "$port" "$@"; }

# A value of INFO: info section name
info() { cli INFO "$1" | tr -d '\r' | sed -n "s/^$2://p"; }

# A server on `port`; fails if it ends before it answers.
launch() {
    "${REDIS_SERVER:-redis-server}" --port "$port" --bind 127.0.0.1 --dir "$folder" --logfile "$folder/log" \
        --save "" --appendonly no "${server_options[@]}" --loadmodule "$module" &
    server=$!
    while kill -0 "$server" 2>/dev/null; do
        # Somebody else's server may answer here while ours has not got the port.
        [ "$(info server process_id 2>/dev/null)" != "$server" ] || return 0
        sleep 0.05
    done
    wait "$server" || true
    server=
    return 1
}

start() {
    for _ in {1..20}; do
        port=$((20000 + RANDOM % 12000))
        ! launch || return 0
        grep -q 'Address already in use' "$folder/log" || break
    done
    cat "$folder/log" >&2
    die "the server did not start"
}
