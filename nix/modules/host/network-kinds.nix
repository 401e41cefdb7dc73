# The kinds of meta/network/routes.py; a test compares.
[
  "anthropic"
  "anthropic-token"
  "openai"
  "gemini"
  "git"
  "http"
]
