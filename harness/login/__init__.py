"""The login of the coding agent's CLI: whether it has one, and how an operator gives it one."""
