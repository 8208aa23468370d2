//! Cache keys in SQLite, shared by all processes on one root.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_solver::{CacheError, KeyStore, Link, StoredResult};
use kiln_store::database::{Database, DatabaseError};
use oci_spec::image::Digest;
use rusqlite::{Connection, OptionalExtension, params};

/// Versions of the tables, oldest first.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE solver_links (
        source TEXT NOT NULL,
        input INTEGER NOT NULL,
        digest TEXT NOT NULL,
        selector TEXT NOT NULL,
        target TEXT NOT NULL,
        PRIMARY KEY (source, input, digest, selector, target)
    ) WITHOUT ROWID;
    CREATE INDEX solver_links_target ON solver_links (target);
    CREATE TABLE solver_results (
        key TEXT NOT NULL,
        id TEXT NOT NULL,
        created INTEGER NOT NULL,
        PRIMARY KEY (key, id)
    ) WITHOUT ROWID;
    CREATE INDEX solver_results_id ON solver_results (id);
"];

/// The [`KeyStore`] of a store's database.
pub struct DatabaseKeys {
    database: Database,
}

impl DatabaseKeys {
    /// Opens the tables, making them as needed.
    pub fn open(database: Database) -> Result<Self, DatabaseError> {
        database.migrate("solver", MIGRATIONS)?;
        Ok(Self { database })
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, CacheError> {
        let result = self
            .database
            .read(|db| query(db).map_err(DatabaseError::from));
        Ok(result?)
    }
}

impl KeyStore for DatabaseKeys {
    fn exists(&self, key: &str) -> Result<bool, CacheError> {
        self.read(|db| is_used(db, key))
    }

    fn result_ids(&self) -> Result<Vec<String>, CacheError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT DISTINCT id FROM solver_results")?;
            query.query_map([], |row| row.get(0))?.collect()
        })
    }

    fn results(&self, key: &str) -> Result<Vec<StoredResult>, CacheError> {
        self.read(|db| {
            let mut query =
                db.prepare_cached("SELECT id, created FROM solver_results WHERE key = ?1")?;
            let rows = query.query_map([key], |row| {
                Ok(StoredResult {
                    id: row.get(0)?,
                    created: from_nanoseconds(row.get(1)?),
                })
            })?;
            rows.collect()
        })
    }

    fn add_result(&self, key: &str, result: &StoredResult) -> Result<(), CacheError> {
        let write = self.database.write(|db| {
            db.prepare_cached(
                "INSERT OR REPLACE INTO solver_results (key, id, created) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![key, result.id, nanoseconds(result.created)])?;
            Ok::<(), DatabaseError>(())
        });
        Ok(write?)
    }

    fn release(&self, result: &str) -> Result<(), CacheError> {
        let write = self.database.write(|db| {
            let keys: Vec<String> = {
                let mut query =
                    db.prepare_cached("DELETE FROM solver_results WHERE id = ?1 RETURNING key")?;
                query
                    .query_map([result], |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()?
            };
            remove_unused(db, keys)?;
            Ok::<(), DatabaseError>(())
        });
        Ok(write?)
    }

    fn keys_of_result(&self, result: &str) -> Result<Vec<String>, CacheError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT key FROM solver_results WHERE id = ?1")?;
            query.query_map([result], |row| row.get(0))?.collect()
        })
    }

    fn add_link(&self, from: &str, link: &Link, to: &str) -> Result<(), CacheError> {
        // Links of a cached build exist already: look before taking the
        // write lock that all processes share.
        if self.has_link(from, link, to)? {
            return Ok(());
        }
        let write = self.database.write(|db| {
            db.prepare_cached(
                "INSERT OR IGNORE INTO solver_links (source, input, digest, selector, target)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                from,
                input(link),
                link.digest.as_ref(),
                selector(link),
                to
            ])?;
            Ok::<(), DatabaseError>(())
        });
        Ok(write?)
    }

    fn links(&self, from: &str, link: &Link) -> Result<Vec<String>, CacheError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT target FROM solver_links
                 WHERE source = ?1 AND input = ?2 AND digest = ?3 AND selector = ?4",
            )?;
            let parameters = params![from, input(link), link.digest.as_ref(), selector(link)];
            query.query_map(parameters, |row| row.get(0))?.collect()
        })
    }

    fn has_link(&self, from: &str, link: &Link, to: &str) -> Result<bool, CacheError> {
        self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT 1 FROM solver_links WHERE source = ?1 AND input = ?2
                 AND digest = ?3 AND selector = ?4 AND target = ?5",
            )?;
            query.exists(params![
                from,
                input(link),
                link.digest.as_ref(),
                selector(link),
                to
            ])
        })
    }

    fn backlinks(&self, to: &str) -> Result<Vec<(String, Link)>, CacheError> {
        let rows: Vec<(String, u32, String, String)> = self.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT source, input, digest, selector FROM solver_links WHERE target = ?1",
            )?;
            let rows = query.query_map([to], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
            rows.collect()
        })?;
        let links = rows.into_iter().map(|(from, input, digest, selector)| {
            let selector = match selector.as_str() {
                "" => None,
                text => Some(text.parse::<Digest>()?),
            };
            Ok((
                from,
                Link {
                    input: input as usize,
                    digest: digest.parse()?,
                    selector,
                },
            ))
        });
        links.collect()
    }
}

fn selector(link: &Link) -> &str {
    link.selector.as_ref().map_or("", AsRef::as_ref)
}

/// SQLite has no unsigned integers; no op has this many inputs.
fn input(link: &Link) -> i64 {
    i64::try_from(link.input).unwrap_or(i64::MAX)
}

fn is_used(db: &Connection, key: &str) -> rusqlite::Result<bool> {
    let mut query = db.prepare_cached(
        "SELECT 1 FROM solver_results WHERE key = ?1
         UNION ALL SELECT 1 FROM solver_links WHERE source = ?1 LIMIT 1",
    )?;
    query
        .query_row([key], |_| Ok(()))
        .optional()
        .map(|found| found.is_some())
}

/// Removes keys that lead nowhere any more, and then what led to them.
fn remove_unused(db: &Connection, keys: Vec<String>) -> rusqlite::Result<()> {
    let mut open = keys;
    let mut seen: HashSet<String> = HashSet::new();
    while let Some(key) = open.pop() {
        if is_used(db, &key)? || !seen.insert(key.clone()) {
            continue;
        }
        let mut remove =
            db.prepare_cached("DELETE FROM solver_links WHERE target = ?1 RETURNING source")?;
        let sources = remove.query_map([&key], |row| row.get(0))?;
        open.extend(sources.collect::<rusqlite::Result<Vec<String>>>()?);
    }
    Ok(())
}

/// Nanoseconds since the epoch; an i64 lasts until the year 2262.
fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(error) => {
            i64::try_from(error.duration().as_nanos()).map_or(i64::MIN, std::ops::Neg::neg)
        }
    }
}

fn from_nanoseconds(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    match nanoseconds >= 0 {
        true => UNIX_EPOCH + distance,
        false => UNIX_EPOCH - distance,
    }
}
