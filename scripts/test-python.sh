#!/usr/bin/env bash
# Tests clients/python: format, lint, types; then wheel and sdist are built, and the tests of the sdist run against the
# wheel that is installed, and as far as it matters with the oldest redis-py and SQLAlchemy, too. Arguments go to pytest.
# Whatever it needs comes into target/clients; PYTHON names another one than python3.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
client=$root/clients/python
python=${PYTHON:-python3}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
target=${CARGO_TARGET_DIR:-$root/target}/clients/client-python$version
export DIRTY_MODULE=${DIRTY_MODULE:-${CARGO_TARGET_DIR:-$root/target}/release/libdirty_streams.so}
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH

die() { echo "test-python: $*" >&2; exit 1; }

# environment name requirement…: it is made again when pyproject.toml or this script has changed.
environment() {
    local folder=$target/$1 needs
    needs=$(cat "$client/pyproject.toml" "$root/scripts/test-python.sh" | sha256sum)
    [ "$(cat "$folder/needs" 2>/dev/null)" != "$needs" ] || return 0
    rm -rf "$folder"
    "$python" -m venv "$folder"
    "$folder/bin/pip" install --quiet --upgrade pip
    "$folder/bin/pip" install --quiet "${@:2}" ||
        die "what $1 needs cannot be had (no registry?), so nothing was tested"
    echo "$needs" >"$folder/needs"
}
# installed name: the environment has the wheel.
installed() { "$target/$1/bin/pip" install --quiet --force-reinstall --no-deps "$wheel"; }

mkdir -p "$target"
cd "$client"
environment newest '.[pydantic,sqlalchemy,cli]' --group dev
environment oldest 'redis==5.0.1' 'sqlalchemy==2.0.40' 'psycopg[binary]' pydantic pytest pytest-asyncio pytest-xdist hypothesis
environment bare 'redis>=5'
tools=$target/newest/bin
"$tools/ruff" format --check --quiet . || die 'not formatted: run ruff format in clients/python'
"$tools/ruff" check --quiet .
"$tools/python" scripts/asyncio_client.py --check
"$tools/mypy" --no-error-summary --cache-dir "$target/mypy"

rm -rf "$target/dist" "$target/tests"
"$tools/python" -m build --no-isolation --outdir "$target/dist" . >"$target/build.log" 2>&1 ||
    { cat "$target/build.log"; die 'wheel and sdist cannot be built'; }
wheel=$(echo "$target"/dist/*.whl)
mkdir "$target/tests"
tar -xzf "$target"/dist/*.tar.gz -C "$target/tests" --strip-components=1
rm -r "$target/tests/src"
ln -sf "$root/clients/partitions.json" "$target/partitions.json"
ln -sfn "$root/docs" "$target/docs"

installed bare
(cd / && "$target/bare/bin/python" -c 'import dirty_streams, dirty_streams.asyncio')
[[ $("$target/bare/bin/dirty" stats 2>&1 || true) == *"pip install 'dirty-streams[cli]'"* ]] ||
    die 'without its extra, dirty does not say what is missing'

cd "$target/tests"
installed newest
"$tools/pytest" --quiet --no-header -p no:cacheprovider -n 2 --dist worksteal "$@"
[ $# -eq 0 ] || exit 0
installed oldest
"$target/oldest/bin/pip" uninstall --quiet --yes greenlet 2>/dev/null  # what needs it is not imported
"$target/oldest/bin/pytest" --quiet --no-header -p no:cacheprovider \
    -n 2 --dist worksteal tests/test_client.py tests/test_connections.py tests/test_asyncio.py tests/test_partitions.py \
    tests/sql/test_marks.py tests/sql/test_triggers.py
