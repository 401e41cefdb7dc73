#!/bin/sh
# Names each missing prerequisite with the command that installs it. Argument: the python to use.
python=${1:-python3}
missing=0
say() { missing=1; printf 'hive: %s\n  try: %s\n' "$1" "$2" >&2; }
command -v "$python" >/dev/null || say "$python is missing" "apt-get install python3 (on NixOS: nix-shell -p python3)"
if command -v "$python" >/dev/null; then
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || say "$python is older than 3.11" "install Python 3.11 or newer, then make PYTHON=python3.11"
  "$python" -c 'import venv, ensurepip' 2>/dev/null || say "python3-venv is missing" "apt-get install python3-venv"
fi
command -v git >/dev/null || say "git is missing" "apt-get install git (on NixOS: nix-shell -p git)"
command -v bwrap >/dev/null || say "bubblewrap is missing" "apt-get install bubblewrap (on NixOS: nix-shell -p bubblewrap)"
exit $missing
