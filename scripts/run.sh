#!/usr/bin/env bash
# Starts a Redis with the module in the foreground: run.sh port folder (its data stays there).
set -euo pipefail
port=$1 folder=$2

if (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "run: port $port is taken (another Redis? redis-cli -p $port INFO server); take another: make run PORT=$((port + 1))" >&2
    exit 1
fi
mkdir -p "$folder"

# The line comes last, when the server answers; $$ becomes the server's own process id by exec. Who waits for that
# is no child of this shell, and so none of the server's, which would warn of a child that it does not know.
(
    (
        while kill -0 $$ 2>/dev/null; do
            if [ "$(redis-cli -p "$port" PING 2>/dev/null)" = PONG ]; then
                echo "Redis runs, Ctrl-C ends it. Now type: redis-cli -p $port DIRTY.DECLARE user STREAM user-changes"
                break
            fi
            sleep 0.1
        done
    ) &
)
exec "${REDIS_SERVER:-redis-server}" --port "$port" --bind 127.0.0.1 -::1 --dir "$folder" \
    --loglevel warning --loadmodule "$DIRTY_MODULE"
