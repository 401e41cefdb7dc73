"""The `claude` CLI (Claude Code), driven over its stream of JSON lines."""
