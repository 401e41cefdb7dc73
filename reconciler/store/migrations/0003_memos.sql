-- What is remembered about agents across daemons.
CREATE TABLE memos (
    agent TEXT PRIMARY KEY,
    memo  TEXT NOT NULL                       -- JSON, so that a new field needs no migration
) STRICT;

CREATE TABLE deaths (
    agent    TEXT NOT NULL,
    id       INTEGER NOT NULL,
    step     TEXT NOT NULL,
    count    INTEGER NOT NULL DEFAULT 0,
    begun_by TEXT,                            -- the incarnation that is in this step now
    PRIMARY KEY (agent, id, step)
) STRICT;
