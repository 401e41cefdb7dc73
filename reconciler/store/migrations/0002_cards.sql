-- A projection of the applied repos' tags: one row per id, and which state of the tags was projected.
CREATE TABLE cards (
    agent        TEXT NOT NULL,
    id           INTEGER NOT NULL,            -- 0, the seed, exists once per agent
    kind         TEXT NOT NULL,
    state        TEXT NOT NULL,
    status       TEXT NOT NULL,
    commit_ref   TEXT NOT NULL,
    fetched_sha  TEXT,
    requested_at INTEGER NOT NULL,
    resolved_at  INTEGER,
    note         TEXT,
    description  TEXT,
    proposed_by  TEXT,
    approved_by  TEXT,
    source       TEXT,
    PRIMARY KEY (agent, id)
) STRICT;

CREATE INDEX cards_id ON cards (id);
CREATE INDEX cards_pending ON cards (id) WHERE status = 'pending';

CREATE TABLE projections (
    agent TEXT PRIMARY KEY,
    stamp TEXT NOT NULL
) STRICT;
