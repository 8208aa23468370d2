//! Values kept with a ref.

use super::Ref;
use crate::store::StoreError;

impl Ref {
    /// A value kept with the ref, as checksums of its files are; gone when the ref is.
    pub fn value(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.inner.store.database().query(|connection| {
            let mut query = connection
                .prepare_cached("SELECT value FROM ref_values WHERE owner = ?1 AND name = ?2")?;
            query
                .query((self.row(), name))?
                .next()?
                .map(|row| row.get(0))
                .transpose()
        })?;
        Ok(value)
    }

    /// Keeps a value with the ref.
    pub fn set_value(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.inner.store.database().transact(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO ref_values (owner, name, value) VALUES (?1, ?2, ?3)",
                )?
                .execute((self.row(), name, value))
        })?;
        Ok(())
    }
}
