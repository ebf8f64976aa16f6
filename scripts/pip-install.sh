#!/usr/bin/env bash
# Install into a virtual environment: scripts/pip-install.sh VENV ARGUMENTS…, the arguments of `pip install`.
# uv does it, in half of pip's time (docs/decisions/0007-uv.md). pip does it where PIP_ARGS is set, where pip's
# configuration says what uv has no word for, and where uv cannot be had or fails.
set -euo pipefail
cd "$(dirname "$0")/.." # VENV and files among the ARGUMENTS are relative to the repository's root
python="$1/bin/python"
shift
# uv and pip itself come by pip, so by whatever mirror or proxy pip is configured for.
with_pip() {
  # shellcheck disable=SC2086
  "$python" -m pip install --quiet --disable-pip-version-check ${PIP_ARGS:-} "$@"
}
if [ -z "${PIP_ARGS:-}" ] && with_pip uv -c constraints.txt; then
  "$python" scripts/uv_pip.py install --quiet --python "$python" "$@" && exit 0
fi
with_pip pip -c constraints.txt # one that reads dependency groups
with_pip "$@"
