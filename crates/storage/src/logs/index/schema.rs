//! The tables.

/// The shape of the tables; another one is made again from the files.
pub(in crate::logs) const VERSION: i64 = 2;

/// What a group's streams take is kept with it by triggers, whoever writes: a sum over a group that
/// ran for a year would read a million rows.
pub(in crate::logs) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS groups (
    id      INTEGER PRIMARY KEY,
    tenant  TEXT NOT NULL,
    region  TEXT NOT NULL,
    name    TEXT NOT NULL,
    streams INTEGER NOT NULL DEFAULT 0,  -- of it
    bytes   INTEGER NOT NULL DEFAULT 0,  -- the sum of their sizes
    UNIQUE (tenant, region, name)
);
CREATE TABLE IF NOT EXISTS streams (
    number  INTEGER PRIMARY KEY,  -- of its file
    grp     INTEGER NOT NULL,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL,
    head    INTEGER NOT NULL,     -- where its first line stands
    size    INTEGER,              -- bytes of the lines in the file; NULL while it is open
    lines   INTEGER,              -- NULL as long as nobody has read them
    bytes   INTEGER,
    first   INTEGER,
    last    INTEGER,
    latest  INTEGER,
    ended   INTEGER               -- its last line or, without one, when it was made
);
CREATE UNIQUE INDEX IF NOT EXISTS streams_by_name ON streams (grp, name);
CREATE INDEX IF NOT EXISTS streams_by_end ON streams (grp, ended, size);
CREATE TRIGGER IF NOT EXISTS stream_added AFTER INSERT ON streams BEGIN
    UPDATE groups SET streams = streams + 1, bytes = bytes + COALESCE(NEW.size, 0)
        WHERE id = NEW.grp;
END;
CREATE TRIGGER IF NOT EXISTS stream_removed AFTER DELETE ON streams BEGIN
    UPDATE groups SET streams = streams - 1, bytes = bytes - COALESCE(OLD.size, 0)
        WHERE id = OLD.grp;
END;
CREATE TRIGGER IF NOT EXISTS stream_changed AFTER UPDATE OF grp, size ON streams
    WHEN NEW.grp <> OLD.grp OR NEW.size IS NOT OLD.size BEGIN
    UPDATE groups SET streams = streams - 1, bytes = bytes - COALESCE(OLD.size, 0)
        WHERE id = OLD.grp;
    UPDATE groups SET streams = streams + 1, bytes = bytes + COALESCE(NEW.size, 0)
        WHERE id = NEW.grp;
END;
-- Files that are being removed, and have no row any more.
CREATE TABLE IF NOT EXISTS removing (number INTEGER PRIMARY KEY);
";

/// The counter that says below which number every stream is known.
pub(in crate::logs) const INDEXED: &str = "indexed";
/// The counter that holds the token of the [`Stamp`](crate::stamp::Stamp).
pub(in crate::logs) const TOKEN: &str = "token";
