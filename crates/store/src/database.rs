//! The SQLite database of a store: shared by all processes on the root, and open to other crates' tables.

use std::path::PathBuf;

/// The database of a store. Cheap to clone.
///
/// Writers of all processes take turns (WAL, busy timeout), readers never wait. Each crate keeps its own tables
/// under its own migration name and table prefix.
#[derive(Debug, Clone)]
pub struct Database {
    _todo: (),
}

impl Database {
    /// Brings the tables of `namespace` up to date: `steps[n]` leads from version n to n+1. Runs each step once
    /// per database, whichever process comes first. A database made by a newer program is an error.
    pub fn migrate(&self, namespace: &str, steps: &[&str]) -> Result<(), DatabaseError> {
        todo!()
    }

    /// Runs `work` with a connection for reading.
    pub fn read<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        todo!()
    }

    /// Runs `work` in one write transaction, committed if it returns `Ok`. Keep it short: other processes wait.
    pub fn write<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        todo!()
    }
}

/// Why the database could not serve.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite failed.
    #[error("database {}: {source}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// The error.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite failed inside of a `read` or `write`.
    #[error("database: {0}")]
    Query(#[from] rusqlite::Error),
    /// A newer program has changed the tables.
    #[error("{} holds version {found} of {namespace} and this program knows {known}: use the newer program or another root", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Whose tables.
        namespace: String,
        /// The version found.
        found: u32,
        /// The version this program has.
        known: u32,
    },
}
