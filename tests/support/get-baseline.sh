#!/bin/sh
# Makes the commit that today's figures are compared with in build/baseline (ignored by git): its tree from this clone's
# history, and a virtual environment with its own locked packages. Does nothing when it is there. $1: a python.
set -eu
cd "$(dirname "$0")/../.."
commit=4adf687
base=build/baseline
if [ -f "$base/.made-$commit" ]; then
  exit 0
fi
git rev-parse --quiet --verify "$commit^{commit}" >/dev/null || {
  echo "hive: $commit is not in this clone, so there is nothing to compare with: git fetch --unshallow" >&2
  exit 1
}
echo "making $commit in $base (about a minute)"
rm -rf "$base"
mkdir -p "$base"
git archive "$commit" | tar -x -C "$base"
"$1" -m venv "$base/.venv"
timeout 600 "$base/.venv/bin/python" -m pip install -q --require-hashes -r "$base/requirements.lock" </dev/null
timeout 300 "$base/.venv/bin/python" -m pip install -q --no-deps --no-build-isolation -e "$base" </dev/null
touch "$base/.made-$commit"
