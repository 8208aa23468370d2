//! The tables of the store itself.

/// Steps for [`super::Database::migrate`]; append only.
pub(crate) const STORE_MIGRATIONS: &[&str] = &[
    "
-- One row for each ref, tree being made, and cache directory. The number names its locks and its directory.
CREATE TABLE refs (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    files TEXT NOT NULL,
    description TEXT NOT NULL,
    record_type TEXT NOT NULL,
    created INTEGER NOT NULL,
    last_used INTEGER,
    usage_count INTEGER NOT NULL DEFAULT 0,
    -- Bytes of its files; NULL until measured.
    size INTEGER,
    -- Whether files are hard links to other trees' files, so that the size changes with them.
    linked INTEGER NOT NULL DEFAULT 0,
    -- Whether there are opaque directories; NULL until looked at.
    opaque INTEGER,
    diff_id TEXT,
    chain_id TEXT,
    -- The boot it was made in, until its files are known to be on the disk; then NULL.
    boot TEXT
);
CREATE INDEX refs_chain_id ON refs (chain_id) WHERE chain_id IS NOT NULL;
CREATE INDEX refs_boot ON refs (boot) WHERE boot IS NOT NULL;
CREATE INDEX refs_mutable ON refs (state) WHERE state = 'mutable';

CREATE TABLE ref_parents (
    child INTEGER NOT NULL REFERENCES refs (row) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    parent INTEGER NOT NULL REFERENCES refs (row),
    PRIMARY KEY (child, position)
) WITHOUT ROWID;
CREATE INDEX ref_parents_parent ON ref_parents (parent);

CREATE TABLE ref_blobs (
    owner INTEGER NOT NULL REFERENCES refs (row) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    digest TEXT NOT NULL,
    descriptor TEXT NOT NULL,
    PRIMARY KEY (owner, digest)
) WITHOUT ROWID;

CREATE TABLE ref_attachments (
    owner INTEGER NOT NULL REFERENCES refs (row) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    PRIMARY KEY (owner, digest)
) WITHOUT ROWID;

CREATE TABLE ref_values (
    owner INTEGER NOT NULL REFERENCES refs (row) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (owner, name)
);

CREATE TABLE ref_keys (
    key TEXT PRIMARY KEY,
    target INTEGER NOT NULL REFERENCES refs (row) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX ref_keys_target ON ref_keys (target);

CREATE TABLE cache_dirs (
    owner INTEGER PRIMARY KEY REFERENCES refs (row) ON DELETE CASCADE,
    key TEXT NOT NULL,
    ready INTEGER NOT NULL
);
CREATE INDEX cache_dirs_key ON cache_dirs (key);

CREATE TABLE images (
    name TEXT PRIMARY KEY,
    descriptor TEXT NOT NULL,
    updated INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
",
    "
-- Blobs that something beside refs and images needs, by what needs them.
CREATE TABLE kept_blobs (
    owner TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (owner, digest)
) WITHOUT ROWID;
",
    "
ALTER TABLE refs DROP COLUMN opaque;
",
];
