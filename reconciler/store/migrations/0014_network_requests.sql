-- What agents asked to reach. A pending request has no decision; of decided ones the newest are kept. Unix seconds.
-- Nothing here allows anything: the grants are in meta's branch `run`.
CREATE TABLE network_requests (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    agent      TEXT NOT NULL,
    host       TEXT NOT NULL,                 -- in its one spelling (meta.network.rule)
    port       INTEGER NOT NULL,
    why        TEXT NOT NULL,                 -- the agent's words, on one line
    count      INTEGER NOT NULL DEFAULT 1,    -- how often it asked for the same
    asked_at   INTEGER NOT NULL,
    last_at    INTEGER NOT NULL,
    decision   TEXT,                          -- allowed, denied
    decided_at INTEGER,
    decided_by TEXT,
    answer     TEXT                           -- the words of the answer, as the agent got them
) STRICT;

CREATE UNIQUE INDEX network_requests_pending ON network_requests (agent, host, port) WHERE decision IS NULL;
CREATE INDEX network_requests_decided ON network_requests (agent, id) WHERE decision IS NOT NULL;
