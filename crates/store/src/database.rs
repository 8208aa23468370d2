//! The SQLite database of a store: shared by all processes on the root, and open to other crates' tables.

mod dump;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

pub use dump::dump;
pub(crate) use schema::STORE_MIGRATIONS;

/// The database's file in a root.
pub(crate) const FILE: &str = "kiln.db";

/// How long a writer waits for writers of other processes. Transactions take milliseconds; a disk that is
/// swamped by a build may hold one up for seconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections kept for readers; more are opened and closed as needed.
const IDLE_READERS: usize = 8;

/// The database of a store. Cheap to clone.
///
/// Writers of all processes take turns (WAL, busy timeout), readers never wait. Each crate keeps its own tables
/// under its own migration name, with that name in front of the tables' names.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Made when it is first needed: builds that find everything cached only read.
    writer: Mutex<Option<Connection>>,
    readers: Mutex<Vec<Connection>>,
}

impl Database {
    /// Opens or makes the database file. One process at a time, please: the caller holds a lock.
    pub(crate) fn open(path: &Path) -> Result<Database, DatabaseError> {
        let first = connect(path)?;
        first
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 CREATE TABLE IF NOT EXISTS migrations (namespace TEXT PRIMARY KEY, version INTEGER NOT NULL);",
            )
            .map_err(|error| DatabaseError::of(path, error))?;
        let inner = Inner {
            path: path.to_owned(),
            writer: Mutex::default(),
            readers: Mutex::new(vec![first]),
        };
        Ok(Database {
            inner: Arc::new(inner),
        })
    }

    /// Brings the tables of `namespace` up to date: `steps[n]` leads from version n to n+1. Runs each step once
    /// per database, whichever process comes first. A database made by a newer program is an error.
    pub fn migrate(&self, namespace: &str, steps: &[&str]) -> Result<(), DatabaseError> {
        let version = |connection: &Connection| {
            let mut found =
                connection.prepare_cached("SELECT version FROM migrations WHERE namespace = ?1")?;
            Ok(found
                .query([namespace])?
                .next()?
                .map(|row| row.get::<_, usize>(0))
                .transpose()?
                .unwrap_or(0))
        };
        let mut found = self.query(version)?;
        if found < steps.len() {
            found = self.transact(|transaction| {
                let found = version(transaction)?;
                for step in steps.iter().skip(found) {
                    transaction.execute_batch(step)?;
                }
                let reached = found.max(steps.len());
                transaction.execute(
                    "INSERT OR REPLACE INTO migrations (namespace, version) VALUES (?1, ?2)",
                    (namespace, reached),
                )?;
                Ok(reached)
            })?;
        }
        if found > steps.len() {
            let path = self.inner.path.clone();
            return Err(DatabaseError::Newer {
                path,
                namespace: namespace.to_owned(),
                found,
                known: steps.len(),
            });
        }
        Ok(())
    }

    /// Bytes of the database's files.
    pub(crate) fn size(&self) -> u64 {
        let size = |suffix: &str| {
            let mut path = self.inner.path.clone().into_os_string();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |found| found.len())
        };
        size("") + size("-wal")
    }

    /// Runs `work` with a connection for reading. All its queries see the database at one moment.
    pub fn read<T, E: Into<DatabaseError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, DatabaseError> {
        let idle = lock(&self.inner.readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.inner.path)?,
        };
        // One transaction: each query on its own would take and release the locks of the file again.
        let look = || {
            let transaction = connection
                .unchecked_transaction()
                .map_err(|error| self.error(error))?;
            let value = work(&transaction).map_err(|error| self.error(error))?;
            transaction.finish().map_err(|error| self.error(error))?;
            Ok(value)
        };
        let result = look();
        let mut readers = lock(&self.inner.readers);
        if readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        result
    }

    /// Runs `work` in one write transaction, committed if it returns `Ok`. Keep it short: other processes wait.
    pub fn write<T, E: Into<DatabaseError>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, DatabaseError> {
        let mut writer = lock(&self.inner.writer);
        let connection = match &mut *writer {
            Some(connection) => connection,
            none => none.insert(connect(&self.inner.path)?),
        };
        // Immediate: a transaction that starts by reading could not wait for other writers later.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| self.error(error))?;
        let value = work(&transaction).map_err(|error| self.error(error))?;
        transaction.commit().map_err(|error| self.error(error))?;
        Ok(value)
    }

    /// [`Database::read`] for closures whose error type is not told by their body.
    pub(crate) fn query<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DatabaseError> {
        self.read(work)
    }

    /// [`Database::write`] for closures whose error type is not told by their body.
    pub(crate) fn transact<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, DatabaseError> {
        self.write(work)
    }

    /// [`Database::transact`] that returns only when the disk has it.
    pub(crate) fn transact_durably<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, DatabaseError> {
        let write = |mut connection: Connection| {
            connection.execute_batch("PRAGMA synchronous = FULL")?;
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        write(connect(&self.inner.path)?).map_err(|error: rusqlite::Error| self.error(error))
    }

    fn error(&self, error: impl Into<DatabaseError>) -> DatabaseError {
        match error.into() {
            DatabaseError::Query(source) => DatabaseError::of(&self.inner.path, source),
            other => other,
        }
    }
}

fn connect(path: &Path) -> Result<Connection, DatabaseError> {
    let open = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // NORMAL: a power failure may lose the last transactions, never tear one; see `Store::sync`.
        connection.execute_batch(
            "PRAGMA synchronous = NORMAL;
             PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA journal_size_limit = 16777216;
             PRAGMA wal_autocheckpoint = 256;",
        )?;
        // Ending a process must not wait for the disk. The log is written back once it is long enough, but not too
        // long: the next process reads all of it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    open().map_err(|error| DatabaseError::of(path, error))
}

/// A panic while the lock was held left the value consistent: a transaction rolls back when it is dropped.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why the database could not serve.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite failed.
    #[error("database {}: {source}{advice}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What the user can do.
        advice: &'static str,
        /// The error.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite failed inside of a `read` or `write`, which turn this into [`DatabaseError::Sqlite`].
    #[error("database: {0}")]
    Query(#[from] rusqlite::Error),
    /// A newer program has changed the tables.
    #[error("database {} has version {found} of its {namespace} tables and this program knows {known}: use the newer program or another root with --root", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Whose tables.
        namespace: String,
        /// The version found.
        found: usize,
        /// The version this program has.
        known: usize,
    },
}

impl DatabaseError {
    /// Whether space ran out.
    pub fn is_disk_full(&self) -> bool {
        let (DatabaseError::Sqlite { source, .. } | DatabaseError::Query(source)) = self else {
            return false;
        };
        source.sqlite_error_code() == Some(ErrorCode::DiskFull)
    }

    fn of(path: &Path, source: rusqlite::Error) -> DatabaseError {
        let advice = match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                "; free space on that file system or choose another root with --root"
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                "; choose a root that this user may write to with --root"
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                "; the build state is damaged: remove its directory, it is only a cache"
            }
            Some(ErrorCode::DatabaseBusy) => {
                "; another process holds it for too long: look for a stopped one"
            }
            _ => "",
        };
        DatabaseError::Sqlite {
            path: path.to_owned(),
            advice,
            source,
        }
    }
}
