-- Discovery: tips that were refused, so that a later daemon of the same revision and limits does not fetch them again.
CREATE TABLE refused_tips (
    agent  TEXT NOT NULL,
    source TEXT NOT NULL,                     -- "proposed/push.git#main"
    sha    TEXT NOT NULL,
    reason TEXT NOT NULL,
    judge  TEXT NOT NULL,                     -- hive's revision and its limits
    PRIMARY KEY (agent, source)
) STRICT;

-- What is removed by its age, without a sort.
CREATE INDEX tips_age ON tips (agent, at);
