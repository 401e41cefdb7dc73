"""Turns of the real harness whose model is a script in agent.toml."""
