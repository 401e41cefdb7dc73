-- Passkeys of operators. A removed one keeps its row: an audit checks old approvals against it. Unix seconds.
CREATE TABLE passkeys (
    id         TEXT PRIMARY KEY,            -- the credential's id, base64url
    owner      TEXT NOT NULL,               -- as in tags and events: "operator uid 1000", "operator anna"
    uid        INTEGER,                     -- the kernel's, of an owner who has one
    user       TEXT NOT NULL DEFAULT '',    -- the name of an owner whom a proxy named
    name       TEXT NOT NULL,               -- the owner's word for it, on one line
    public_key BLOB NOT NULL,               -- COSE
    sign_count INTEGER NOT NULL,            -- of the last use; stays 0 for a passkey that does not count
    added_at   INTEGER NOT NULL,
    used_at    INTEGER,
    refused_at INTEGER,                     -- when its counter went back: another device may have its key
    removed_at INTEGER,
    removed_by TEXT
) STRICT;
