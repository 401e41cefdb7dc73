-- Who may use the dashboard. Of what a browser holds only the SHA-256 is kept, so that nobody can log in with this file.
CREATE TABLE dashboard_links (
    hash BLOB PRIMARY KEY,
    uid INTEGER NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- `uid`: the user of the host whose link it was; NULL for a `user` whom a reverse proxy named.
CREATE TABLE dashboard_sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    uid INTEGER,
    user TEXT NOT NULL,
    how TEXT NOT NULL,
    browser TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL
) STRICT;
