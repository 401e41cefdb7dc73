#!/bin/sh
# Installs the pinned Claude Code CLI into build/claude (ignored by git); does nothing when it is there. $1: a python with pip.
# Its licence is its own, so it is fetched and never kept here; only tests use it. It comes in the wheel of its Python SDK,
# of which nothing else is used: so no npm is needed.
set -eu
cd "$(dirname "$0")/../.."
version=2.1.329
wheel=claude-agent-sdk==0.2.186
claude=build/claude/claude_agent_sdk/_bundled/claude
if [ -x "$claude" ] && [ "$("$claude" --version 2>/dev/null | cut -d' ' -f1)" = "$version" ]; then
  exit 0
fi
rm -rf build/claude
timeout 300 "$1" -m pip install -q --no-deps --target build/claude "$wheel" </dev/null
test "$("$claude" --version | cut -d' ' -f1)" = "$version" || { echo "hive: $wheel does not bring the CLI $version" >&2; exit 1; }
