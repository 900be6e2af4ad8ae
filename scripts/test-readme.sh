#!/usr/bin/env bash
# Runs README's program in each language, and the worker's loop of docs/reading.md, as they stand there but for the server:
# each prints what is saved, acknowledges it, and leaves at Ctrl-C. guides.py runs the programs of the guides, and tracing.py
# those of the page on tracing.
set -euo pipefail
. "$(dirname "$0")/server.sh"
. "$root/scripts/languages.sh"

program=
finish() {
    local code=$?
    [ -z "$program" ] || kill -KILL "$program" 2>/dev/null || true
    [ $code -eq 0 ] || cat "$folder"/{out,remarks} >&2 2>/dev/null || true
    stop
}
trap finish EXIT

# shown page language: what the page has in this language.
shown() { awk -v begin="\`\`\`$2" '/^```/ { inside = $0 == begin; next } inside' "$root/$1"; }

# runs page event command…: the program prints the event.
runs() {
    local page=$1 event=$2 _
    : >"$folder/out"
    cli FLUSHALL >>"$folder/remarks"
    cli DIRTY.DECLARE user TYPES 1 age int STREAM user-changes >>"$folder/remarks"
    cli DIRTY.READER user-changes GROUP mailer FROM 0 ORDER ENTITY >>"$folder/remarks"
    # What runs in the background ignores Ctrl-C unless it is told not to.
    env --default-signal=INT "${@:3}" >"$folder/out" 2>>"$folder/remarks" &
    program=$!
    [[ $page = README.md ]] ||
        cli DIRTY.FLUSH user SNAPSHOT 43 JSON '{"name": "Bob", "age": 27}' >>"$folder/remarks"
    for _ in {1..200}; do
        ! grep -qxF "$event" "$folder/out" || break
        sleep 0.1
    done
    kill -INT "$program"
    wait "$program" || die "the program of $page ended with $?: $3"
    program=
    [ "$(cat "$folder/out")" = "$event" ] || die "the program of $page printed something else: $3"
    [ -z "$(cli DIRTY.PENDING user-changes GROUP mailer)" ] || die "the program of $page left something pending: $3"
    [ -z "$(cli DIRTY.STATS user-changes | grep -A1 '^consumers$' | grep -x name)" ] || die "the program of $page did not leave: $3"
}

start
{ prepare_python && prepare_node && prepare_go && prepare_tracing; } >>"$folder/remarks" 2>&1
shown README.md python | sed "s/redis\.Redis()/redis.Redis(port=$port)/" >"$folder/readme.py"
runs README.md 'insert user 43 {}' "${python[@]}" "$folder/readme.py"

shown README.md js | sed "s/new Redis({/& port: $port,/" >"$target/node/readme.js"
runs README.md 'insert user 43 {}' node "$target/node/readme.js"

mkdir -p "$folder/readme"
cp "$root/examples/shop/go.mod" "$folder/readme"
{
    printf '%s\n' 'package main' 'import (' '"context"' '"fmt"' '"log"' '"os"' '"os/signal"' \
        'ds "dirtystreams"' '"github.com/redis/go-redis/v9"' ')' 'func main() {' \
        'ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)' 'defer stop()'
    shown README.md go | sed "s/redis\.Options{/&Addr: \"127.0.0.1:$port\", /"
    printf '%s\n' 'if err != nil { log.Fatal(err) }' '}'
} >"$folder/readme/main.go"
go_build "$folder/readme" 2>>"$folder/remarks"
runs README.md 'insert user 43 map[]' "$target/go/readme"

shown docs/reading.md python | sed "s/redis\.Redis(/&port=$port, /" >"$folder/loop.py"
runs docs/reading.md 'insert user 43 {}' "${python[@]}" "$folder/loop.py"

mkdir "$folder/guides"
cli FLUSHALL >>"$folder/remarks"
(cd "$folder/guides" && REDIS_URL=redis://127.0.0.1:$port "${python[@]}" "$root/scripts/guides.py")
cli FLUSHALL >>"$folder/remarks"
(cd "$target/node/tracing" && rm -f app.db && REDIS_URL=redis://127.0.0.1:$port "${tracing[@]}" "$root/scripts/tracing.py")
echo "test-readme: the programs of README and Reading printed the event, acknowledged it and left."
