#!/usr/bin/env bash
# The Debian packages a bare machine lacks; nothing happens where they are already there.
# Usage: sudo scripts/install-system.sh
set -euo pipefail
missing=()
for package in python3 python3-venv make git; do
  case "$package" in
    python3) command -v python3 >/dev/null || missing+=("$package") ;;
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=("$package") ;;
    *) command -v "$package" >/dev/null || missing+=("$package") ;;
  esac
done
if [ "${#missing[@]}" -eq 0 ]; then
  echo "system packages: all there"
  exit 0
fi
command -v apt-get >/dev/null || { echo "Install these with your package manager: ${missing[*]}" >&2; exit 1; }
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}"
