"""agent.toml: parse it, explain its errors, make an agent's first commit."""
