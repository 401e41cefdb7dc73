-- Questions and reminders. Open questions have no answered_at; a reminder that was delivered or cancelled has no row.
CREATE TABLE questions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    asker       TEXT NOT NULL,
    target      TEXT NOT NULL,                -- an agent, or operator
    question    TEXT NOT NULL,
    options     TEXT NOT NULL,                -- a JSON array of texts
    multi       INTEGER NOT NULL,
    asked_at    INTEGER NOT NULL,
    expires_at  INTEGER,
    answered_at INTEGER,
    answer      TEXT,
    answerer    TEXT,                         -- who answered or cancelled; system when it expired
    size        INTEGER NOT NULL DEFAULT 0,   -- bytes of its texts
    notice      INTEGER                       -- the message that told the target of it
) STRICT;

CREATE INDEX questions_open ON questions (asker) WHERE answered_at IS NULL;
CREATE INDEX questions_due ON questions (expires_at) WHERE answered_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX questions_done ON questions (asker, answered_at, id, size) WHERE answered_at IS NOT NULL;
CREATE INDEX questions_age ON questions (answered_at) WHERE answered_at IS NOT NULL;

CREATE TABLE reminders (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    owner   TEXT NOT NULL,
    message TEXT NOT NULL,                    -- what the inbox gets: the text, or where the file with it is
    due_at  INTEGER NOT NULL,
    made_at INTEGER NOT NULL
) STRICT;

CREATE INDEX reminders_due ON reminders (due_at, id);
CREATE INDEX reminders_owner ON reminders (owner, id);
