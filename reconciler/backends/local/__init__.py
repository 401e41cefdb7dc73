"""Backend `local`: supervised processes in bubblewrap, on any Linux machine."""
