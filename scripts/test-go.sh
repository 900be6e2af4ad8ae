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

# Debian's packages are the libraries' sources, some without a go.mod.
if [ ! -e "$target/go.mod" ]; then
    "$root/scripts/unpack.sh" forky "$target/go" golang-go
    "$root/scripts/unpack.sh" forky "$target/libraries" --alone golang-github-redis-go-redis-dev \
        golang-github-cespare-xxhash-v2-dev golang-github-dgryski-go-rendezvous-dev golang-github-gomodule-redigo-dev
    sources=$target/libraries/root/usr/share/gocode/src
    {
        cat "$client/redistest/go.mod"
        echo "replace dirtystreams => $client"
        for library in redis/go-redis:/v9 cespare/xxhash/v2: dgryski/go-rendezvous: gomodule/redigo:; do
            module=github.com/${library%:*}
            [ -e "$sources/$module/go.mod" ] || echo "module $module${library#*:}" >"$sources/$module/go.mod"
            echo "replace $module${library#*:} => $sources/$module"
        done
    } | grep -v '=> \.\./' >"$target/made.mod"
    mv "$target/made.mod" "$target/go.mod"
fi

export GOPROXY=off GOTOOLCHAIN=local GOCACHE=$target/cache
newest=$(readlink -f "$target"/go/root/usr/lib/go-1.*)
newer() { GOROOT=$newest PATH=$newest/bin:$PATH "$@"; }

cd "$client"
unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || die "gofmt would change $unformatted"
# With one set of flags, so that the standard library is built once.
go vet -race ./...
go test -race "$@" ./...
cd redistest
export GOFLAGS="-mod=mod -modfile=$target/go.mod"
go vet -race -tags=redigo ./...
go test -race -tags=redigo "$@" ./...
newer go test "$@" ./...
