"""An agent's applied repo. Its tags are the log of every proposal."""
