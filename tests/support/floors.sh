#!/bin/sh
# Runs tests with each direct dependency at the oldest version that pyproject.toml allows (tests/support/floors.py).
#
#   floors.sh PYTHON PATH...       PYTHON: the one of .venv
#
# Its virtual environment is build/venv-floors, or VENV_FLOORS.
set -eu
python=$1
shift
venv=${VENV_FLOORS:-build/venv-floors}
key="$("$python" -V) $(cat pyproject.toml requirements.lock tests/support/floors.py | cksum)"
if [ "$(cat "$venv/.made-for" 2>/dev/null)" != "$key" ]; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$python" tests/support/floors.py "$venv"
  # uv: pip reads every version of every package, and takes minutes
  "$venv/bin/python" -m pip install -q uv==0.13.9
  "$venv/bin/uv" pip install -q --python "$venv/bin/python" -r "$venv/requirements.txt" -c "$venv/constraints.txt"
  "$venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps --no-build-isolation -e .
  echo "$key" >"$venv/.made-for"
fi
exec sh tests/support/in-memory-tmp.sh "$venv/bin/python" -m pytest -q -n 2 --dist worksteal -p no:cacheprovider "$@"
