"""HTTP on the operator's and the agents' sockets."""
