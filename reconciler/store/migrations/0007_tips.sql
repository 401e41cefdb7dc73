-- Discovery: the last tip of each branch that became a proposal, so that the same one is not found twice.
CREATE TABLE tips (
    agent  TEXT NOT NULL,
    source TEXT NOT NULL,                     -- "proposed/push.git#main"
    sha    TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (agent, source)
) STRICT;
