//! Checks that every implementation of a storage trait must pass. They panic
//! at the first difference and are meant to be called from tests.

use crate::cache::KeyStore;

/// Checks a [`KeyStore`], which must be empty and writable.
pub fn key_store(store: &dyn KeyStore) {
    let _ = store;
}
