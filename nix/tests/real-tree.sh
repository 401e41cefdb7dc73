#!/bin/sh
# real-tree.sh PATH: evaluate the modules, the templates, the packages and the flake that hive renders against the
# nixpkgs at PATH, a checkout or a store path. Nothing is built. Before each release, and for each NixOS it is for.
set -eu
path=$(realpath -- "${1:?usage: nix/tests/real-tree.sh PATH}")
cd -- "$(dirname -- "$(realpath -- "$0")")/../.."
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=$(command -v "$python") || { echo "run \`make setup\` first, or set PYTHON" >&2; exit 2; }
exec "$python" -m tests.nix.real_tree "$path"
