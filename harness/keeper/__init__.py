"""A process above the harness, for agents that may have sub-agents: these survive a crash of the harness."""
