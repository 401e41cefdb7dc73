"""The pods of agents: what they ask and report, and the client of their sockets."""
