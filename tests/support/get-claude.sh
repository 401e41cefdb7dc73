#!/bin/sh
# Installs the pinned Claude Code CLI into build/claude (ignored by git); does nothing when it is there.
# Its licence is its own, so it is fetched and never kept here; only tests use it.
set -eu
cd "$(dirname "$0")/../.."
version=2.1.329
claude=build/claude/node_modules/.bin/claude
if [ -x "$claude" ] && [ "$("$claude" --version 2>/dev/null | cut -d' ' -f1)" = "$version" ]; then
  exit 0
fi
command -v npm >/dev/null || { echo 'hive: npm is missing
  try: apt-get install npm (on NixOS: nix-shell -p nodejs)' >&2; exit 1; }
mkdir -p build/claude
npm i --prefix build/claude --no-audit --no-fund --loglevel error "@anthropic-ai/claude-code@$version" </dev/null
"$claude" --version
