#!/bin/sh
# Runs a selection of the tests on another Python than the project's own: the newest of PATH and pyenv that it supports.
#
#   other-python.sh PYTHON [demo] [PATH...]       PYTHON: the one of .venv, which is not taken
#
# Its virtual environment is build/venv-other, or VENV_OTHER. Without another Python it says so, and succeeds.
set -eu
own=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
shift
venv=${VENV_OTHER:-build/venv-other}

say() { printf 'hive: %s\n' "$1" >&2; }

# A shim of pyenv is on PATH for versions too that it then does not run.
works() { "$1" -c "import sys, venv, ensurepip, sqlite3, ssl; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" 2>/dev/null; }

find_other() {
  for version in 3.14 3.13 3.12 3.11; do
    [ "$version" != "$own" ] || continue
    for python in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
      ! works "$python" "$version" || { echo "$python"; return; }
    done
  done
}

python=$(find_other)
if [ -z "$python" ]; then
  say "this machine has no other Python from 3.11 to 3.14 than $own: nothing was run on another"
  exit 0
fi
version=$("$python" -V)
say "also on $version ($python)"
if [ "$(cat $venv/.made-for 2>/dev/null)" != "$version $(cksum <requirements.lock)" ]; then
  rm -rf $venv
  "$python" -m venv $venv
  $venv/bin/python -m pip install -q --require-hashes -r requirements.lock
  $venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
  echo "$version $(cksum <requirements.lock)" >$venv/.made-for
fi
if [ "${1:-}" = demo ]; then
  shift
  $venv/bin/python -m tests.e2e.story
fi
[ $# = 0 ] || exec $venv/bin/python -m pytest -q -rs -n 2 --dist worksteal -p no:cacheprovider "$@"
