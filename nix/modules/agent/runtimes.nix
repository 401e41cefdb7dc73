# The runtimes of hive's harness: those of meta/agent_toml/runtimes.py, in its order. A test compares them.
[
  "script"
  "claude"
  "codex"
  "gemini"
  "opencode"
  "claude-acp"
  "acp"
]
