//! What killed processes and power failures left.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use oci_spec::image::Digest;
use rusqlite::{OptionalExtension, Transaction};
use sha2::{Digest as _, Sha256};

use crate::disk::AtPath;
use crate::lease::Lease;
use crate::lease::locks::{Mode, Purpose, Row};
use crate::refs::record::{from_nanoseconds, nanoseconds};
use crate::store::{Core, StoreError};

/// Removes trees that nobody makes any more and directories that no row knows, and deletes what is condemned unless
/// `ending` is set in the meantime.
pub(crate) fn leftovers(core: &Core, ending: &AtomicBool) -> Result<(), StoreError> {
    for row in abandoned(core)? {
        core.snapshots.condemn(row)?;
    }
    // Directories are listed before the rows are read: each has its row before it is made.
    let directories = core.snapshots.rows()?;
    let known: HashSet<Row> = core.database.query(|connection| {
        let mut query = connection.prepare_cached("SELECT row FROM refs")?;
        query.query_map([], |row| row.get(0))?.collect()
    })?;
    for row in directories.into_iter().filter(|row| !known.contains(row)) {
        core.snapshots.condemn(row)?;
    }
    core.snapshots.empty_trash(ending)?;
    Lease::oldest(&core.leases())?;
    Ok(())
}

/// Deletes the rows of unfinished trees whose makers are gone.
fn abandoned(core: &Core) -> Result<Vec<Row>, StoreError> {
    const UNFINISHED: &str = "SELECT row FROM refs WHERE state = 'mutable'
        UNION ALL SELECT owner FROM cache_dirs WHERE ready = 0";
    let find = |connection: &rusqlite::Connection| -> rusqlite::Result<Vec<Row>> {
        let mut query = connection.prepare_cached(UNFINISHED)?;
        query.query_map([], |row| row.get(0))?.collect()
    };
    // Hardly ever any: do not make other processes wait to find that out.
    if core.database.query(find)?.is_empty() {
        return Ok(Vec::new());
    }
    let owner = core.new_lock_owner()?;
    let removed = core.database.transact(|transaction| {
        let mut removed = Vec::new();
        for row in find(transaction)? {
            if owner
                .try_lock(Purpose::Use, row, Mode::Exclusive)
                .unwrap_or(false)
            {
                transaction
                    .prepare_cached("DELETE FROM refs WHERE row = ?1")?
                    .execute([row])?;
                removed.push(row);
            }
        }
        Ok(removed)
    })?;
    Ok(removed)
}

/// After a start of the machine, forgets trees that may not have reached the disk and checks blobs of the time
/// since the last [`crate::Store::sync`]. The caller holds the lock of opening.
pub(crate) fn after_power_failure(core: &Core) -> Result<(), StoreError> {
    let setting = |name: &str| {
        core.database.query(|connection| {
            let mut query =
                connection.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
            query
                .query_row([name], |row| row.get::<_, String>(0))
                .optional()
        })
    };
    let last_boot = setting("boot")?;
    if last_boot.as_ref() == Some(&core.boot) {
        return Ok(());
    }
    if last_boot.is_some() {
        let synced = setting("synced")?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        check_blobs(core, from_nanoseconds(synced))?;
    }
    let lost = core.database.transact(|transaction| {
        let lost = forget_lost(transaction, &core.boot)?;
        set(transaction, "boot", &core.boot)?;
        Ok(lost)
    })?;
    if lost > 0 {
        tracing::info!(
            trees = lost,
            "forgot build results that had not been written out before the machine stopped"
        );
    }
    Ok(())
}

fn forget_lost(transaction: &Transaction<'_>, boot: &str) -> rusqlite::Result<usize> {
    transaction.execute(
        "WITH RECURSIVE lost (row) AS (
             SELECT row FROM refs WHERE boot IS NOT NULL AND boot != ?1 AND files IN ('written', 'unpacked')
             UNION SELECT child FROM ref_parents JOIN lost ON parent = lost.row
         )
         DELETE FROM refs WHERE row IN lost",
        [boot],
    )
}

/// Removes blobs younger than `synced` that are not what their names say.
fn check_blobs(core: &Core, synced: SystemTime) -> Result<(), StoreError> {
    for (digest, path) in core.content.list()? {
        let is_newer = fs::metadata(&path)
            .and_then(|found| found.modified())
            .is_ok_and(|time| time >= synced);
        if is_newer && !is_intact(&digest, File::open(&path).at("open", &path)?) {
            tracing::warn!(%digest, "removing a blob that did not reach the disk in time");
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

fn is_intact(digest: &Digest, mut file: File) -> bool {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            // Blobs of the rare other algorithms are not worth checking: they are fetched again.
            Ok(0) => return digest.digest() == hex::encode(hasher.finalize()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(_) => return false,
        }
    }
}

/// Marks everything as written out that was so at `synced`.
pub(crate) fn set_synced(
    transaction: &Transaction<'_>,
    synced: SystemTime,
) -> rusqlite::Result<()> {
    set(transaction, "synced", &nanoseconds(synced).to_string())
}

fn set(transaction: &Transaction<'_>, name: &str, value: &str) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)",
        (name, value),
    )?;
    Ok(())
}
