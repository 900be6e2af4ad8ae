# shellcheck shell=bash
# Sourced by the scripts that run programs in several languages: brings what they need into target/clients. prepare_python
# sets `python`, which finds the client; prepare_node makes target/node, where examples/node and its libraries are;
# prepare_tracing, behind both, makes target/node/tracing, where OpenTelemetry is, and sets `tracing`.

target=${CARGO_TARGET_DIR:-$root/target}/clients
mkdir -p "$target"
target=$(cd "$target" && pwd)

prepare_node() {
    local there=$target/node examples=$root/examples
    mkdir -p "$there"
    cp "$examples"/node/*.[jt]s "$examples"/node/*.json "$there"
    cmp -s "$there/package-lock.json" "$there/installed.lock" || (
        cd "$there"
        npm ci --cache "$there/cache" --prefer-offline --loglevel error --no-audit --no-fund
        cp package-lock.json installed.lock
    )
}

prepare_python() {
    local there=$target/shop-python wanted=$root/examples/python/requirements.txt
    cmp -s "$wanted" "$there/installed.txt" || {
        python3 -m venv "$there"
        "$there/bin/python" -m pip install --quiet --disable-pip-version-check -r "$wanted"
        cp "$wanted" "$there/installed.txt"
    }
    python=(env PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 "PYTHONPATH=$root/clients/python/src" "$there/bin/python")
}

prepare_tracing() {
    local there=$target/node/tracing wanted=$root/scripts/tracing
    mkdir -p "$there"
    cp "$root"/examples/node/{worker,dirty}.js "$wanted"/*.json "$there"
    cmp -s "$there/package-lock.json" "$there/installed.lock" || (
        cd "$there"
        npm ci --cache "$target/node/cache" --prefer-offline --loglevel error --no-audit --no-fund
        cp package-lock.json installed.lock
    )
    cmp -s "$wanted/requirements.txt" "$there/installed.txt" || {
        rm -rf "$there/python"
        "$target/shop-python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
            --target "$there/python" -r "$wanted/requirements.txt"
        cp "$wanted/requirements.txt" "$there/installed.txt"
    }
    tracing=(env PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 "PYTHONPATH=$root/clients/python/src:$there/python"
        "$target/shop-python/bin/python")
}

prepare_go() {
    mkdir -p "$target/go"
    (
        target=$target/go client=$root/clients/go
        . "$root/scripts/go.sh"
    )
}
# go_build folder: the program there, at target/go/<name of the folder>.
go_build() (
    out=$target/go/$(basename "$1") target=$target/go client=$root/clients/go
    . "$root/scripts/go.sh"
    cd "$1"
    GOFLAGS="-mod=mod -modfile=$target/go.mod" newer go build -o "$out" .
)
