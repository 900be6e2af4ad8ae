# shellcheck shell=bash
# Sourced by the scripts that use Go's libraries: go-redis and redigo, unpacked from Debian's packages into `target`, where
# go.mod names them. `client` is clients/go. `newer go …` is testing's Go, which go-redis wants.

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
