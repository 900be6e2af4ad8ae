#!/usr/bin/env bash
# Builds the module for arm64 on an amd64 Debian, and gets a server there to try it on: arm64.sh build|server
#
# rustup's compiler has no standard library for arm64 unless it is fetched, too. Debian's has one in a package, so that is
# taken: testing's rustc for this machine and its library for arm64, unpacked in target/arm64/rust (1.2 GB). The linker and
# the C library are those of this machine's Debian, so that the module needs no newer one than a build for it would.
#
# The server is the redis-server of Debian 12 for arm64, unpacked in target/arm64/redis; target/arm64/redis-server runs it
# in qemu's emulation.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "arm64: $*" >&2; exit 1; }

target=${CARGO_TARGET_DIR:-$PWD/target}
folder=$target/arm64
machine=$(dpkg --print-architecture 2>/dev/null) || die 'only Debian and its kin have the packages'
if [ "$machine" = arm64 ]; then
    [ "$1" = server ] || cargo build --release
    exit 0
fi
[ "$machine" = amd64 ] || die "a machine of amd64 or arm64 is needed, this is $machine"

case $1 in
    build)
        scripts/setup.sh aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdint.h:libc6-dev-arm64-cross
        if ! "$folder/rustc" --version >/dev/null 2>&1; then
            echo "arm64: getting Debian's rustc and its library for arm64 into $folder"
            scripts/unpack.sh forky "$folder/rust" rustc libstd-rust-dev:arm64
            root=$folder/rust/root
            cat >"$folder/rustc" <<END
#!/bin/sh
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" --argv0 rustc "$root/usr/bin/rustc" "\$@"
END
            chmod +x "$folder/rustc"
        fi
        export RUSTC=$folder/rustc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
        export BINDGEN_EXTRA_CLANG_ARGS_aarch64_unknown_linux_gnu='-isystem /usr/aarch64-linux-gnu/include'
        # Other folders than those of this machine's compiler, which would have to build all of it once more.
        cargo build --release --locked --target aarch64-unknown-linux-gnu --target-dir "$folder/build"
        install -D "$folder"/build/aarch64-unknown-linux-gnu/release/libdirty_streams.so -t "$target/aarch64-unknown-linux-gnu/release"
        ;;
    server)
        scripts/setup.sh qemu-aarch64-static:qemu-user-static
        "$folder/redis-server" --version >/dev/null 2>&1 && exit 0
        echo "arm64: getting Debian's redis-server for arm64 into $folder"
        scripts/unpack.sh bookworm "$folder/redis" redis-tools:arm64
        root=$folder/redis/root
        # The server is the program of its tools, which looks at its name.
        ln -sf redis-check-rdb "$root/usr/bin/redis-server"
        cat >"$folder/redis-server" <<END
#!/bin/sh
exec qemu-aarch64-static -L "$root" -0 redis-server "$root/usr/bin/redis-server" "\$@"
END
        chmod +x "$folder/redis-server"
        "$folder/redis-server" --version
        ;;
    *) die "build or server, not '$1'" ;;
esac
