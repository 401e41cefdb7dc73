"""What is shown: status, cards, diffs, logs. Nothing here changes an agent, a repo or the database.

A look at the agents notes in memory when a phase began, also if it is made to show something.
"""
