#!/usr/bin/env bash
# The integration tests on servers that this machine need not have: test-servers.sh folder servers [filter…], the
# servers by the names that servers.sh gives them, in one word, and the filters as cargo test takes them. Where a
# server cannot be had it says so, and that is no failure.
set -euo pipefail

folder=$(realpath -m "$1")
read -ra servers <<<"$2"
shift 2
scripts=$(dirname "$0")
"$scripts/servers.sh" "$folder" || true

if "$scripts/old-server.sh" "$folder"; then
    export REDIS_6_SERVER="$folder/redis-6"
else
    echo 'test-servers: SKIPPED: whether Redis 6.2 refuses the module; old-server.sh says why above' >&2
fi

failed=()
for server in "${servers[@]}"; do
    if ! version=$("$folder/$server" --version 2>/dev/null); then
        echo "test-servers: SKIPPED: nothing was tested on $server; servers.sh says why above" >&2
        continue
    fi
    echo "test-servers: $version"
    REDIS_SERVER="$folder/$server" cargo test -q --test integration -- "$@" || failed+=("$server")
done
[ ${#failed[@]} -eq 0 ] || { echo "test-servers: FAILED on ${failed[*]}" >&2; exit 1; }
