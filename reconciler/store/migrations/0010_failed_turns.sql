-- Why a message was given back. It is a dead letter after some failed turns, or after some returns of unknown reason.
ALTER TABLE messages ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;    -- turns in which the receiver died or gave up
ALTER TABLE messages ADD COLUMN returned INTEGER NOT NULL DEFAULT 0;  -- other returns; those that hive caused are none

-- Before this, every return counted.
UPDATE messages SET returned = attempts - (delivered_at IS NOT NULL) WHERE acked_at IS NULL AND attempts > 0;
