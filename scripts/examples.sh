#!/usr/bin/env bash
# Copies examples/ into a folder, without what following their READMEs leaves there: examples.sh folder
set -euo pipefail
cd "$(dirname "$0")/.."
tar --create --exclude=venv --exclude=node_modules --exclude=target --exclude=__pycache__ --exclude='*.db' --exclude=directory.json examples |
    tar --extract --no-same-owner --directory "$1"
