#!/bin/sh
# Fetches from npm what browsers are served besides hive's own files; does nothing if it is there.
#
#   get-assets.sh PYTHON pages     api/ui/vendor, from the lock in api/ui/assets; part of hive's wheel, ignored by git
#   get-assets.sh PYTHON axe       build/axe, from the lock in tests/support/axe; for tests
#
# npm checks each package against the hash in the lock. No script of a package runs.
set -eu
cd "$(dirname "$0")/../.."
python=$1
case $2 in
  pages)
    lock=api/ui/assets folder=api/ui/vendor
    files='htmx.org/dist/htmx.min.js htmx.org/dist/ext/hx-sse.min.js uplot/dist/uPlot.iife.min.js uplot/dist/uPlot.min.css'
    licenses='htmx.org uplot'
    ;;
  axe)
    lock=tests/support/axe folder=build/axe
    files=axe-core/axe.min.js
    licenses=axe-core
    ;;
  *) echo "hive: no assets $2" >&2; exit 2 ;;
esac
key=$(cat "$lock/package-lock.json" "$0" | cksum)
[ "$(cat "$folder/.made-for" 2>/dev/null)" != "$key" ] || exit 0

# shellcheck source=tests/support/node.sh
. tests/support/node.sh
mkdir -p build "$(dirname "$folder")"
work=$(mktemp -d build/assets-XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
cp "$lock/package.json" "$lock/package-lock.json" "$work/"
# shellcheck disable=SC2086 # words on purpose
timeout 300 $npm ci --prefix "$work" --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error </dev/null >&2
mkdir "$work/new"
for file in $files; do cp "$work/node_modules/$file" "$work/new/"; done
for package in $licenses; do cp "$work/node_modules/$package/LICENSE" "$work/new/$package.LICENSE"; done
echo "$key" >"$work/new/.made-for"
rm -rf "$folder"
mv "$work/new" "$folder"
