#!/usr/bin/env bash
# Installs what the build, the tests and the scripts need and this machine lacks; Debian and its kin. Arguments
# name what else is needed, each a program (or a file's path) and its package (gnuplot:gnuplot-nox), or python3-venv, or
# postgresql
set -euo pipefail

die() { echo "setup: $*" >&2; exit 1; }

# True if one of the files exists; unmatched patterns arrive here as they were typed.
any() { for file in "$@"; do [ ! -e "$file" ] || return 0; done; return 1; }

# bindgen loads libclang (libclang-cpp.so is another library), which then wants its own stddef.h.
# Who has set LIBCLANG_PATH knows better.
have_libclang() {
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    any /usr/lib/llvm-*/lib/libclang{,-[0-9]*}.so* /usr/lib{,64}/{,*-linux-gnu/}libclang{,-[0-9]*}.so* \
        /usr/local/lib/libclang{,-[0-9]*}.so* || return 1
    any /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/{,local/}lib{,64}/clang/*/include/stddef.h
}

server=${REDIS_SERVER:-redis-server}

command -v cargo >/dev/null || die "cargo is missing: install Rust (Cargo.toml says which version)"

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
have_libclang || missing+=(libclang-dev)
command -v "$server" >/dev/null || missing+=(redis-server)
command -v python3 >/dev/null || missing+=(python3)
command -v valgrind >/dev/null || missing+=(valgrind)
{ command -v redis-cli && command -v redis-benchmark; } >/dev/null || missing+=(redis-tools)
for needed in "$@"; do
    case $needed in
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv) ;;
        postgresql) any /usr/lib/postgresql/*/bin/postgres || missing+=(postgresql) ;;
        /*) any "${needed%:*}" || missing+=("${needed#*:}") ;;
        *) command -v "${needed%:*}" >/dev/null || missing+=("${needed#*:}") ;;
    esac
done

if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || die "missing: ${missing[*]} (Debian's names), and there is no apt-get to install them"
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "missing: ${missing[*]}; run as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    echo "setup: installing ${missing[*]}"
    # The tests start servers of their own, so Debian need not make and start one.
    settings=/etc/postgresql-common/createcluster.conf
    if [[ " ${missing[*]} " == *" postgresql "* && ! -e $settings ]]; then
        "${as_root[@]}" mkdir -p "$(dirname "$settings")"
        echo 'create_main_cluster = false' | "${as_root[@]}" tee "$settings" >/dev/null
    fi
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

    # Under systemd the package has just started a Redis of its own on port 6379. It is here because of
    # us alone, so it goes again; one that was here before is its owner's, and is left alone.
    if [[ " ${missing[*]} " == *" redis-server "* && -d /run/systemd/system ]]; then
        "${as_root[@]}" systemctl --quiet disable --now redis-server
        echo "setup: stopped Debian's own redis-server service, which came with the package" \
            "(it returns with: systemctl enable --now redis-server)"
    fi
fi

version=$("$server" --version | sed 's/.* v=\([0-9.]*\).*/\1/')
[ "${version%%.*}" -ge 7 ] || die "$server is $version, and the module needs Redis 7.0 or later"
