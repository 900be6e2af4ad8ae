#!/usr/bin/env bash
# Installs the module, the viewer and the documentation, or removes them: install.sh install|uninstall prefix destdir
# The server's configuration is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "install: $*" >&2; exit 1; }

prefix=${2%/} root=${3:-}
[[ ${2:-} == /* ]] || die "PREFIX must begin with a /, not be '${2:-}'"
module=$prefix/lib/redis/modules/libdirty_streams.so
viewer=$prefix/bin/dirty-watch
doc=$prefix/share/doc/dirty-streams

case $1 in
    install)
        built=${DIRTY_MODULE:-${CARGO_TARGET_DIR:-$PWD/target}/release/libdirty_streams.so}
        [ -e "$built" ] || die "no module at $built; build it first: make build"
        # Redis loads only what is executable. A server that runs keeps the file that it has: install
        # puts another one in its place.
        install -D -m 755 "$built" "$root$module"
        install -D -m 755 scripts/watch.py "$root$viewer"
        install -D -m 644 -t "$root$doc" README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE
        cp -r docs "$root$doc"
        scripts/examples.sh "$root$doc"
        install -m 644 scripts/redis_exporter.lua "$root$doc"
        sed "s|/usr/lib/redis/modules/|$prefix/lib/redis/modules/|" packaging/dirty-streams.conf >"$root$doc/dirty-streams.conf"
        chmod -R u=rwX,go=rX "$root$doc"
        echo "install: now tell redis.conf: loadmodule $module"
        ;;
    uninstall)
        rm -rf "$root$module" "$root$viewer" "$root$doc"
        # Folders that hold nothing else any more.
        rmdir "$root$prefix"/lib/redis/{modules,} 2>/dev/null || true
        ;;
    *) die "install or uninstall, not '$1'" ;;
esac
