#!/usr/bin/env bash
# Build .venv from the pins. Usage: scripts/setup-venv.sh [GROUP…], dependency groups of pyproject.toml.
# PYTHON picks the interpreter; PIP_ARGS adds to every pip call (an extra index for CPU-only torch wheels, say).
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Skyloop needs Python 3.11 or newer; $("$python" --version) found. Set PYTHON=/path/to/python3.11 and run make again." >&2
  exit 1
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
  echo "This Python cannot make virtual environments. On Debian: sudo scripts/install-system.sh" >&2
  exit 1
}
[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "Installing Skyloop${1:+ and the groups $*} into .venv (about a minute and 2 GB the first time) …"
# bash 3.2, which macOS has, knows no empty array under `set -u`: the groups become options in place.
for group in "$@"; do
  set -- "$@" --group "$group"
  shift
done
scripts/pip-install.sh .venv -c constraints.txt -e . -r training_container/requirements.txt "$@"
