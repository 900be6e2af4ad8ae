#!/usr/bin/env bash
# Tests examples/monitoring and `dirty exporter` with Debian 12's Prometheus: the rules by promtool, then each alert on a
# live server (scripts/monitoring.py). Whatever it needs comes into target/monitoring; nothing is installed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
folder=$target/monitoring
export DIRTY_MODULE=${DIRTY_MODULE:-$target/release/libdirty_streams.so}
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONPATH
die() { echo "test-monitoring: $*" >&2; exit 1; }

mkdir -p "$folder"
tools=$folder/debian/root/usr/bin
"$tools/promtool" --version >/dev/null 2>&1 ||
    "$root/scripts/unpack.sh" bookworm "$folder/debian" --alone prometheus || die "nothing was tested"
needs=$(sha256sum <"$root/clients/python/pyproject.toml")
if [ "$(cat "$folder/venv/needs" 2>/dev/null)" != "$needs" ]; then
    rm -rf "$folder/venv"
    python3 -m venv "$folder/venv"
    # Its libraries; the client itself is run from its source.
    "$folder/venv/bin/pip" install --quiet 'redis>=5' 'prometheus-client>=0.20' 'rich>=13' ||
        die "what it needs cannot be had (no registry?), so nothing was tested"
    echo "$needs" >"$folder/venv/needs"
fi

cd "$root/examples/monitoring"
for check in "check rules alerts.yaml" "check config prometheus.yml" "test rules alerts.test.yaml"; do
    read -ra words <<<"$check"
    "$tools/promtool" "${words[@]}" >"$folder/promtool" 2>&1 || { cat "$folder/promtool" >&2; die "promtool $check"; }
done
# Compose itself is asked where it is installed; that each file is there is seen everywhere.
while read -r file; do
    [ -e "$root/$file" ] || die "compose.yaml names $file, which is not there"
done < <(sed -n 's|^ *- \./\([^:]*\):.*|\1|p' "$root/compose.yaml"; echo "examples/monitoring/exporter.Dockerfile")
if docker compose version >/dev/null 2>&1; then docker compose -f "$root/compose.yaml" config --quiet; fi
PYTHONPATH=$root/clients/python/src "$folder/venv/bin/python" "$root/scripts/monitoring.py" "$folder/run" "$tools"
