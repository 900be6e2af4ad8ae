#!/usr/bin/env bash
# The integration tests on servers that this machine need not have: test-servers.sh folder [filter…], the
# filters as cargo test takes them. Where the servers cannot be had it says so, and that is no failure.
set -euo pipefail

folder=$(realpath -m "$1")
shift
scripts=$(dirname "$0")
if ! "$scripts/servers.sh" "$folder"; then
    echo "test-servers: SKIPPED: nothing was tested on Redis 8.0 and Valkey 8.1; servers.sh says why above" >&2
    exit 0
fi

if "$scripts/old-server.sh" "$folder"; then
    export REDIS_6_SERVER="$folder/redis-6"
else
    echo 'test-servers: SKIPPED: whether Redis 6.2 refuses the module; old-server.sh says why above' >&2
fi

failed=()
for server in redis-8 valkey-8; do
    echo "test-servers: $("$folder/$server" --version)"
    REDIS_SERVER="$folder/$server" cargo test -q --test integration -- "$@" || failed+=("$server")
done
[ ${#failed[@]} -eq 0 ] || { echo "test-servers: FAILED on ${failed[*]}" >&2; exit 1; }
