#!/usr/bin/env bash
# Copies examples/ and clients/ into a folder, without what following their READMEs leaves there: examples.sh folder
set -euo pipefail
cd "$(dirname "$0")/.."
left=(venv node_modules target dist __pycache__ '.*_cache' .hypothesis '*.egg-info' '*.db' directory.json)
tar --create "${left[@]/#/--exclude=}" examples clients |
    tar --extract --no-same-owner --directory "$1"
