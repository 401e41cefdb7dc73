-- Who brought a message in, keys against double sends, the dead letters.
-- waiting: neither delivered nor dead; in flight: delivered, not acked; done: acked; dead: no state but this one.
ALTER TABLE messages ADD COLUMN origin TEXT NOT NULL DEFAULT 'peer';  -- peer, operator, socket, wake, system
ALTER TABLE messages ADD COLUMN broadcast INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN dead_at INTEGER;
ALTER TABLE messages ADD COLUMN topic TEXT NOT NULL DEFAULT '';  -- of hive's own: what it tells, and of or by whom

DROP INDEX messages_waiting;
DROP INDEX messages_in_flight;
CREATE INDEX messages_waiting ON messages (recipient, id) WHERE delivered_at IS NULL AND dead_at IS NULL;
CREATE INDEX messages_in_flight ON messages (recipient, id, size)
    WHERE delivered_at IS NOT NULL AND acked_at IS NULL AND dead_at IS NULL;
CREATE INDEX messages_dead ON messages (id) WHERE dead_at IS NOT NULL;
CREATE INDEX messages_notices ON messages (recipient, topic, size) WHERE origin = 'system' AND acked_at IS NULL;

-- What an inbox holds, and what of that is one sender's.
DROP INDEX messages_open;
CREATE INDEX messages_open ON messages (recipient, sender, size) WHERE acked_at IS NULL;

-- In a table of its own: a key is remembered longer than the row that it brought in. `recipient` may be '*'.
CREATE TABLE message_keys (
    sender    TEXT NOT NULL,
    recipient TEXT NOT NULL,
    key       TEXT NOT NULL,
    id        INTEGER NOT NULL,               -- of the (first) message
    at        INTEGER NOT NULL,
    PRIMARY KEY (sender, recipient, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX message_keys_newest ON message_keys (sender, id);

-- Receivers that have acked or requeued once. Of all others only the newest messages stay in flight.
CREATE TABLE receivers (
    agent TEXT PRIMARY KEY,
    acks  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Before this, nothing but an ack made a message done.
INSERT INTO receivers SELECT DISTINCT recipient, 1 FROM messages WHERE acked_at IS NOT NULL AND recipient <> 'operator';

-- What is cleaned away by its age.
CREATE INDEX messages_acked ON messages (acked_at) WHERE acked_at IS NOT NULL;
CREATE INDEX message_keys_age ON message_keys (at);
