//! Blobs that are kept for others than refs and images, such as records of builds. Who keeps them does so in the
//! transaction that writes its own rows, so that neither is ever there without the other.

use rusqlite::Transaction;

/// Keeps blobs for `owner`, beside those it has already. Owners are named like tables: by whose they are, then a
/// name. A blob that is not in the store need not come.
pub fn keep<'a>(
    transaction: &Transaction<'_>,
    owner: &str,
    digests: impl IntoIterator<Item = &'a str>,
) -> rusqlite::Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT OR IGNORE INTO kept_blobs (owner, digest) VALUES (?1, ?2)")?;
    for digest in digests {
        insert.execute((owner, digest))?;
    }
    Ok(())
}

/// Keeps nothing for `owner` any more. The blobs go with the next prune unless others need them.
pub fn release(transaction: &Transaction<'_>, owner: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM kept_blobs WHERE owner = ?1")?
        .execute([owner])?;
    Ok(())
}
