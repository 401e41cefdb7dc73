-- What each inbox holds that is not acknowledged, so that a send does not count it: for all senders ('') and for each.
-- All labels of `wake` are one sender. The triggers keep it right whoever writes.
CREATE TABLE inbox_totals (
    recipient TEXT NOT NULL,
    sender    TEXT NOT NULL,
    messages  INTEGER NOT NULL,
    size      INTEGER NOT NULL,               -- bytes
    PRIMARY KEY (recipient, sender)
) STRICT, WITHOUT ROWID;

INSERT INTO inbox_totals SELECT recipient, '', count(*), sum(size) FROM messages WHERE acked_at IS NULL GROUP BY recipient;
INSERT INTO inbox_totals SELECT recipient, CASE origin WHEN 'wake' THEN 'wake:' ELSE sender END AS who, count(*), sum(size)
    FROM messages WHERE acked_at IS NULL GROUP BY recipient, who;

CREATE TRIGGER messages_added AFTER INSERT ON messages WHEN NEW.acked_at IS NULL BEGIN
    INSERT INTO inbox_totals VALUES (NEW.recipient, '', 1, NEW.size),
        (NEW.recipient, CASE NEW.origin WHEN 'wake' THEN 'wake:' ELSE NEW.sender END, 1, NEW.size)
        ON CONFLICT DO UPDATE SET messages = messages + 1, size = size + excluded.size;
END;

CREATE TRIGGER messages_acknowledged AFTER UPDATE OF acked_at ON messages WHEN OLD.acked_at IS NULL AND NEW.acked_at IS NOT NULL BEGIN
    UPDATE inbox_totals SET messages = messages - 1, size = size - OLD.size
        WHERE recipient = OLD.recipient AND sender IN ('', CASE OLD.origin WHEN 'wake' THEN 'wake:' ELSE OLD.sender END);
    DELETE FROM inbox_totals WHERE recipient = OLD.recipient AND messages = 0
        AND sender IN ('', CASE OLD.origin WHEN 'wake' THEN 'wake:' ELSE OLD.sender END);
END;

CREATE TRIGGER messages_removed AFTER DELETE ON messages WHEN OLD.acked_at IS NULL BEGIN
    UPDATE inbox_totals SET messages = messages - 1, size = size - OLD.size
        WHERE recipient = OLD.recipient AND sender IN ('', CASE OLD.origin WHEN 'wake' THEN 'wake:' ELSE OLD.sender END);
    DELETE FROM inbox_totals WHERE recipient = OLD.recipient AND messages = 0
        AND sender IN ('', CASE OLD.origin WHEN 'wake' THEN 'wake:' ELSE OLD.sender END);
END;

DROP INDEX messages_open;
