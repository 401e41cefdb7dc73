-- Every event carries the hash of itself and of the one before it; a SHA-256 is no SQL, so reconciler/store/events/chain.py
-- computes it, for the rows that are here already before the next append.
ALTER TABLE events ADD COLUMN hash TEXT;

-- What the first event that is kept is chained to: the last one that was pruned, or the beginning.
CREATE TABLE event_anchor (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    n    INTEGER NOT NULL,
    hash TEXT NOT NULL
) STRICT;
