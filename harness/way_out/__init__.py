"""What the harness knows of the way out: whether it answers, the keys outside, and what was refused."""
