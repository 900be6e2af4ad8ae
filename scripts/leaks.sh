#!/usr/bin/env bash
# A server under valgrind gets random commands for SECONDS, and flushes in which another module changes keys; nothing may be lost
# at its end, and nobody may read or write what is not theirs: scripts/leaks.sh SECONDS FOLDER
# Debian's redis-server takes its memory from a shared jemalloc, in whose place valgrind puts its own.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1 folder=$2
command -v valgrind >/dev/null || {
    echo "leaks: valgrind is missing: apt-get install valgrind" >&2
    exit 1
}
rm -rf "$folder"
mkdir -p "$folder"
# lzf of Redis reads what it has not written, and means it.
cat >"$folder/redis-server" <<END
#!/bin/sh
exec valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \\
    --undef-value-errors=no --num-callers=30 --soname-synonyms='somalloc=libjemalloc*' \\
    --log-file='$folder/%p.log' ${REDIS_SERVER:-redis-server} "\$@"
END
chmod +x "$folder/redis-server"
DIRTY_KEEP_NO_BLOCKS=1 REDIS_SERVER=$folder/redis-server SEQUENCES_SECONDS=$seconds \
    cargo test --quiet --test integration -- sequences meddled --nocapture
if grep -l . "$folder"/*.log >/dev/null; then
    cat "$folder"/*.log >&2
    echo "leaks: valgrind complains, see above" >&2
    exit 1
fi
echo "leaks: $(ls "$folder"/*.log | wc -l) processes, nothing lost, nothing misused"
