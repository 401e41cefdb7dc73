"""How containers run."""
