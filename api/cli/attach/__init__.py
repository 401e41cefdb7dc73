"""`hive attach`: watch an agent's turns live, and type to it.

session   the loop: takes what comes, draws it, and carries out what is typed
view      makes lines of live events; no input, no output
editor    makes lines of typed bytes; no input, no output
orders    what a typed line means
screen    the terminal: lines above, the live text and the input below
feed      the connection, over restarts of the daemon: the only part that knows how events come
"""
