-- Tokens that hive-egress counted in the answers of the models' APIs, by day (UTC, counted from 1970-01-01). `seen` has
-- what hive-egress reported last for the day, as JSON: its own sums begin anew if its state is lost.
CREATE TABLE metered_days (
    agent TEXT NOT NULL,
    day INTEGER NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    seen TEXT NOT NULL DEFAULT '[0, 0, 0, 0]',
    PRIMARY KEY (agent, day)
) STRICT, WITHOUT ROWID;
