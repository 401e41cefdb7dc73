-- Statistics of turns, as the agents' runtimes claim them. Times are in Unix seconds, days are counted from 1970-01-01
-- (UTC). NULL: the runtime did not report it. A turn is told apart by the agent's event log and the event's id in it.
CREATE TABLE turns (
    agent TEXT NOT NULL,
    log TEXT NOT NULL,
    id INTEGER NOT NULL,
    at REAL NOT NULL,
    runtime TEXT NOT NULL,
    model TEXT NOT NULL,
    source TEXT NOT NULL,
    seconds REAL NOT NULL,
    ending TEXT NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cached_tokens INTEGER,
    cost REAL,
    tools TEXT NOT NULL,
    PRIMARY KEY (agent, log, id)
) STRICT;
CREATE INDEX turns_by_time ON turns (agent, at);

-- Sums of each day, which outlive the rows. `turns` counts those that a budget counts, `waited` the others.
CREATE TABLE turn_days (
    agent TEXT NOT NULL,
    day INTEGER NOT NULL,
    model TEXT NOT NULL,
    turns INTEGER NOT NULL DEFAULT 0,
    waited INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cost REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (agent, day, model)
) STRICT, WITHOUT ROWID;

-- Agents whose budget is used up, since when and until when.
CREATE TABLE over_budget (
    agent TEXT PRIMARY KEY,
    since REAL NOT NULL,
    until REAL NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
