-- What a message counts against the quota of its inbox: the bytes of its body, at least 1,024.
ALTER TABLE messages ADD COLUMN size INTEGER NOT NULL DEFAULT 1024;
UPDATE messages SET size = max(1024, length(CAST(body AS BLOB)));

CREATE INDEX messages_open ON messages (recipient, size) WHERE acked_at IS NULL;
CREATE INDEX messages_done ON messages (recipient, id, size) WHERE acked_at IS NOT NULL;
