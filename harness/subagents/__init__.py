"""Sub-agents: the pods that an agent starts inside its own container."""
