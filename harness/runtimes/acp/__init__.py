"""Runtimes that speak the Agent Client Protocol (version 1): JSON-RPC, a line each, on the agent's stdin and stdout."""
