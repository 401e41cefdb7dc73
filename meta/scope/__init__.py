"""Scopes: which paths an agent or a sub-agent may read and write."""
