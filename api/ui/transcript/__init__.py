"""The live events of an agent as people read them: turns, and in each what was said, done, changed and refused."""
