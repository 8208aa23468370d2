//! Records as rows of the store's database.

use kiln_protocol::control::BuildHistoryRecord;
use kiln_store::database::{Database, DatabaseError};
use kiln_store::kept;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

/// Versions of the table, oldest first.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE history_records (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        ref TEXT NOT NULL UNIQUE,
        -- The lease of the process that runs the build; NULL once the build is over.
        lease TEXT,
        completed INTEGER,
        pinned INTEGER NOT NULL DEFAULT 0,
        generation INTEGER NOT NULL DEFAULT 0,
        record BLOB NOT NULL
    );
    CREATE INDEX history_records_lease ON history_records (lease) WHERE lease IS NOT NULL;
"];

/// The records of all builds on one root.
pub(super) struct Table {
    database: Database,
}

/// What tells that a record has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    /// Differs if a build of the same name was recorded anew.
    pub(super) row: i64,
    pub(super) is_active: bool,
    pub(super) generation: i32,
}

/// A record that some process has not completed yet.
pub(super) struct Unfinished {
    pub(super) build: String,
    pub(super) lease: String,
}

/// One row.
pub(super) struct Row {
    pub(super) version: Version,
    pub(super) record: BuildHistoryRecord,
}

impl Table {
    pub(super) fn open(database: Database) -> Result<Self, DatabaseError> {
        database.migrate("history", MIGRATIONS)?;
        Ok(Self { database })
    }

    /// Records a build that begins.
    pub(super) fn start(
        &self,
        record: &BuildHistoryRecord,
        lease: &str,
    ) -> Result<(), DatabaseError> {
        self.write(|transaction| {
            remove(transaction, &record.r#ref)?;
            transaction
                .prepare_cached(
                    "INSERT INTO history_records (ref, lease, record) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![record.r#ref, lease, record.encode_to_vec()])?;
            Ok(())
        })
    }

    /// Records how a build ended that runs under `lease`, and keeps its blobs.
    /// Whether it had not ended or vanished before.
    pub(super) fn complete(
        &self,
        record: &BuildHistoryRecord,
        lease: &str,
        blobs: &[String],
    ) -> Result<bool, DatabaseError> {
        self.write(|transaction| {
            let count = transaction
                .prepare_cached(
                    "UPDATE history_records SET lease = NULL, completed = ?3, record = ?4
                     WHERE ref = ?1 AND lease = ?2",
                )?
                .execute(params![
                    record.r#ref,
                    lease,
                    completed(record),
                    record.encode_to_vec()
                ])?;
            if count > 0 {
                let blobs = blobs.iter().map(String::as_str);
                kept::keep(transaction, &owner(&record.r#ref), blobs)?;
            }
            Ok(count > 0)
        })
    }

    /// Changes a completed record, which then is its next generation, and keeps
    /// more blobs. Whether there is one.
    pub(super) fn update(
        &self,
        build: &str,
        blobs: &[String],
        change: impl FnOnce(&mut BuildHistoryRecord),
    ) -> Result<bool, DatabaseError> {
        self.write(|transaction| {
            let Some(mut row) = find(transaction, build)? else {
                return Ok(false);
            };
            if row.version.is_active {
                return Ok(false);
            }
            change(&mut row.record);
            row.record.generation += 1;
            transaction
                .prepare_cached(
                    "UPDATE history_records SET pinned = ?2, generation = ?3, record = ?4
                     WHERE id = ?1",
                )?
                .execute(params![
                    row.version.row,
                    row.record.pinned,
                    row.record.generation,
                    row.record.encode_to_vec()
                ])?;
            let blobs = blobs.iter().map(String::as_str);
            kept::keep(transaction, &owner(build), blobs)?;
            Ok(true)
        })
    }

    /// Removes a completed record. Whether there was one.
    pub(super) fn delete(&self, build: &str) -> Result<bool, DatabaseError> {
        self.write(|transaction| match find(transaction, build)? {
            Some(row) if !row.version.is_active => remove(transaction, build),
            _ => Ok(false),
        })
    }

    pub(super) fn get(&self, build: &str) -> Result<Option<Row>, DatabaseError> {
        self.read(|connection| find(connection, build))
    }

    /// The versions of all records, oldest first.
    pub(super) fn versions(&self) -> Result<Vec<(String, Version)>, DatabaseError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT id, lease IS NOT NULL, generation, ref FROM history_records ORDER BY id",
            )?;
            let rows = query.query_map([], |row| Ok((row.get(3)?, version(row)?)))?;
            rows.collect()
        })
    }

    pub(super) fn unfinished(&self) -> Result<Vec<Unfinished>, DatabaseError> {
        self.read(|connection| {
            let mut query = connection
                .prepare_cached("SELECT ref, lease FROM history_records WHERE lease IS NOT NULL")?;
            let rows = query.query_map([], |row| {
                Ok(Unfinished {
                    build: row.get(0)?,
                    lease: row.get(1)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Completed records that are neither pinned, nor among the `keep` newest,
    /// nor completed at `limit` (seconds since the epoch) or later.
    pub(super) fn expired(&self, keep: usize, limit: i64) -> Result<Vec<String>, DatabaseError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT ref FROM (
                     SELECT ref, completed FROM history_records
                     WHERE lease IS NULL AND NOT pinned
                     ORDER BY completed DESC, id DESC LIMIT -1 OFFSET ?1
                 ) WHERE completed < ?2",
            )?;
            let keep = i64::try_from(keep).unwrap_or(i64::MAX);
            query.query_map([keep, limit], |row| row.get(0))?.collect()
        })
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DatabaseError> {
        self.database.read(work)
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, DatabaseError> {
        self.database.write(work)
    }
}

/// Under which name a build keeps blobs.
fn owner(build: &str) -> String {
    format!("history/{build}")
}

fn completed(record: &BuildHistoryRecord) -> Option<i64> {
    record.completed_at.as_ref().map(|time| time.seconds)
}

fn remove(transaction: &Transaction<'_>, build: &str) -> rusqlite::Result<bool> {
    kept::release(transaction, &owner(build))?;
    let count = transaction
        .prepare_cached("DELETE FROM history_records WHERE ref = ?1")?
        .execute([build])?;
    Ok(count > 0)
}

fn find(connection: &Connection, build: &str) -> rusqlite::Result<Option<Row>> {
    let mut query = connection.prepare_cached(
        "SELECT id, lease IS NOT NULL, generation, record FROM history_records WHERE ref = ?1",
    )?;
    query
        .query_row([build], |row| {
            let bytes: Vec<u8> = row.get(3)?;
            // A record that cannot be read shows at least its name.
            let record = BuildHistoryRecord::decode(bytes.as_slice()).unwrap_or_else(|_| {
                BuildHistoryRecord {
                    r#ref: build.to_owned(),
                    ..BuildHistoryRecord::default()
                }
            });
            Ok(Row {
                version: version(row)?,
                record,
            })
        })
        .optional()
}

fn version(row: &rusqlite::Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        row: row.get(0)?,
        is_active: row.get(1)?,
        generation: row.get(2)?,
    })
}
