"""A real coding agent takes the turns, with a model that is a stand-in."""
