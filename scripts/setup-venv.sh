#!/usr/bin/env bash
# Build .venv from the pins. Usage: scripts/setup-venv.sh REQUIREMENTS_FILE
# PYTHON picks the interpreter; PIP_ARGS adds to every pip call (an extra index for CPU-only torch wheels, say).
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
requirements="$1"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Skyloop needs Python 3.11 or newer; $("$python" --version) found. Set PYTHON=/path/to/python3.11 and run make again." >&2
  exit 1
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
  echo "This Python cannot make virtual environments. On Debian: sudo scripts/install-system.sh" >&2
  exit 1
}
[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "Installing $requirements into .venv (about a minute and 2 GB the first time) …"
# shellcheck disable=SC2086
.venv/bin/python -m pip install --quiet --disable-pip-version-check ${PIP_ARGS:-} -r "$requirements" -c constraints.txt
# The project's own folders and the `skyloop` command: a path file is all an unpackaged application needs.
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
printf '%s\n%s\n' "$PWD" "$PWD/layers/skyloop/python" > "$site/skyloop.pth"
printf '#!%s\nfrom cli.main import main\n\nmain()\n' "$PWD/.venv/bin/python" > .venv/bin/skyloop
chmod +x .venv/bin/skyloop
