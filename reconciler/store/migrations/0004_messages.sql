-- The broker. waiting: delivered_at is null; in flight: delivered, not acked; done: acked.
CREATE TABLE messages (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    sender       TEXT NOT NULL,
    recipient    TEXT NOT NULL,
    body         TEXT NOT NULL,
    at           INTEGER NOT NULL,
    delivered_at INTEGER,
    acked_at     INTEGER,
    attempts     INTEGER NOT NULL DEFAULT 0,  -- how often it was handed out
    incarnation  TEXT                         -- whom it was handed to last, where the receiver said so
) STRICT;

CREATE INDEX messages_waiting ON messages (recipient, id) WHERE delivered_at IS NULL;
CREATE INDEX messages_in_flight ON messages (recipient, id) WHERE delivered_at IS NOT NULL AND acked_at IS NULL;
CREATE INDEX messages_recent ON messages (recipient, id);
