-- What this database is, and the one append-only sequence of events.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    n     INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice, so that a subscriber can trust its position
    at    REAL NOT NULL,
    kind  TEXT NOT NULL,
    agent TEXT,
    data  TEXT NOT NULL,
    key   TEXT                                -- the outbox: a second append with the same key is nothing
) STRICT;

CREATE UNIQUE INDEX events_key ON events (key) WHERE key IS NOT NULL;
