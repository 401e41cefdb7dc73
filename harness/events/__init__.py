"""The live events of the agent: the bus that takes them, and the log that keeps them."""
