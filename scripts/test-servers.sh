#!/usr/bin/env bash
# The integration tests on servers that this machine need not have: test-servers.sh folder servers [filter…], the
# servers by the names that servers.sh gives them, in one word, and the filters as cargo test takes them. Where a
# server cannot be had it says so, and that is no failure.
set -euo pipefail

folder=$(realpath -m "$1")
read -ra servers <<<"$2"
shift 2
scripts=$(dirname "$0")
# Of redis-6 is tested only that it refuses the module.
[ ${#servers[@]} -gt 0 ] || { echo 'test-servers: no server is named' >&2; exit 2; }
"$scripts/servers.sh" "$folder" "${servers[@]}" || [ $? -ne 2 ] || exit 2
newer=()
for server in "${servers[@]}"; do [ "$server" = redis-6 ] || newer+=("$server"); done

if [[ " ${servers[*]} " != *' redis-6 '* ]]; then
    : # nobody has asked for it
elif "$folder/redis-6" --version >/dev/null 2>&1; then
    export REDIS_6_SERVER="$folder/redis-6"
else
    echo 'test-servers: SKIPPED: whether Redis 6.2 refuses the module; servers.sh says why above' >&2
fi

# The tests on one server; the counts of what was run and of what said that it cannot be tried there.
counted() {
    local name=$1 output status=0
    shift
    output=$(mktemp)
    "$@" 2>&1 | tee "$output" || status=1
    awk -v name="$name" -v options="${REDIS_OPTIONS:-}" '
        /^test result:/ { passed += $4; failed += $6 }
        { skipped += gsub(/skipped [a-z0-9_:]+: /, "") } # behind the dots of other tests
        END {
            printf "test-servers: %s: %d passed, %d of them skipped, %d failed; options: %s\n", name, passed, skipped, failed,
                options == "" ? "none" : options
        }' "$output"
    rm -f "$output"
    return "$status"
}

failed=()
for server in "${newer[@]}"; do
    if ! version=$("$folder/$server" --version 2>/dev/null); then
        echo "test-servers: SKIPPED: nothing was tested on $server; servers.sh says why above" >&2
        continue
    fi
    echo "test-servers: $version"
    export REDIS_SERVER="$folder/$server"
    counted "$server" cargo test -q --test integration -- "$@" || failed+=("$server")
done
# The others have tried it, too.
if [ ${#newer[@]} -eq 0 ] && [ -n "${REDIS_6_SERVER:-}" ]; then
    cargo test -q --test integration -- old_servers:: || failed+=(redis-6)
fi
[ ${#failed[@]} -eq 0 ] || { echo "test-servers: FAILED on ${failed[*]}" >&2; exit 1; }
