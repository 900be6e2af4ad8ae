#!/usr/bin/env bash
# Tests clients/go against real servers: with redigo by this machine's Go, which may be as old as 1.19, and with go-redis
# by that of Debian's testing, since go-redis wants a newer one. What it needs comes into target/clients/go, unpacked.
# Arguments go to `go test`: test-go.sh -run Worker
set -euo pipefail

die() { echo "test-go: $*" >&2; exit 1; }
root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
export DIRTY_MODULE=${DIRTY_MODULE:-$target/release/libdirty_streams.so}
[ -e "$DIRTY_MODULE" ] || die "no module at $DIRTY_MODULE; build it first: make build"
target=$target/clients/go
mkdir -p "$target"
target=$(cd "$target" && pwd)
client=$root/clients/go

. "$root/scripts/go.sh"

cd "$client"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || die "gofmt would change $unformatted"
# With one set of flags, so that the standard library is built once.
go vet -race ./...
go test -race "$@" ./...
cd redistest
export GOFLAGS="-mod=mod -modfile=$target/go.mod"
go vet -race -tags=redigo ./...
if [ $# -gt 0 ]; then
    go test -race -tags=redigo "$@" ./...
    newer go test "$@" ./...
    exit
fi
# The tests mostly wait, so both libraries have their turn at the same time, and the cluster, too.
go test -race -tags=redigo -c -o "$target/redigo.test" .
newer go test -c -o "$target/go-redis.test" .
declare -A running=()
begin() {
    newer "${@:2}" -test.timeout 10m >"$target/$1.out" 2>&1 &
    running[$1]=$!
}
begin redigo "$target/redigo.test"
begin go-redis "$target/go-redis.test" -test.skip Failover
begin cluster "$target/go-redis.test" -test.run Failover
failed=
for name in redigo go-redis cluster; do
    code=0
    wait "${running[$name]}" || code=$?
    ! grep -q 'no tests to run' "$target/$name.out" || code=1
    if [ $code -eq 0 ]; then
        echo "ok  	dirtystreams/redistest, $name"
    else
        failed="$failed $name"
        cat "$target/$name.out"
    fi
done
[ -z "$failed" ] || die "the tests failed:$failed"
