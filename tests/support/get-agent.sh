#!/bin/sh
# Installs a pinned coding agent of the Agent Client Protocol into build/NAME (ignored by git); does nothing if it is there.
#
#   get-agent.sh PYTHON codex|gemini|opencode
#
# They come from npm (node.sh).
set -eu
cd "$(dirname "$0")/../.."
python=$1
name=$2
case $name in
  codex) package=@agentclientprotocol/codex-acp version=2.6.0 ;; # brings codex 0.166.0; 457 MB
  gemini) package=@google/gemini-cli version=0.61.0 ;;           # 100 MB
  opencode) package=opencode-ai version=1.18.33 ;;               # 354 MB
  *) echo "hive: no agent $name" >&2; exit 2 ;;
esac
folder=build/$name
installed() { sed -n 's/^ *"version": "\(.*\)",$/\1/p' "$folder/node_modules/$package/package.json" 2>/dev/null | head -1; }
[ "$(installed)" != "$version" ] || exit 0

# shellcheck source=tests/support/node.sh
. tests/support/node.sh
rm -rf "$folder" "$folder.new"
mkdir -p "$folder.new"
echo '{"private": true}' >"$folder.new/package.json"
# no script of a package runs but opencode's own, which links the program for this machine to its place
# shellcheck disable=SC2086 # words on purpose
timeout 300 $npm install --prefix "$folder.new" --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error \
  "$package@$version" </dev/null >&2
if [ "$name" = opencode ]; then (cd "$folder.new/node_modules/$package" && timeout 60 node postinstall.mjs >&2); fi
mv "$folder.new" "$folder"
test "$(installed)" = "$version" || { echo "hive: npm did not install $package $version" >&2; exit 1; }
