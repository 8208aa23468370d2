//! The local cache: keys in the store's database, results as refs.

mod keys;
mod results;

use std::sync::Arc;

use kiln_solver::Cache;
use kiln_store::Store;

use crate::error::{BuildError, Kind};
use crate::ops::Output;

pub use keys::DatabaseKeys;
pub(crate) use results::{RefResults, SCRATCH};

/// The local cache of a store.
pub(crate) fn local(store: &Store) -> Result<(Cache<Output>, Arc<DatabaseKeys>), BuildError> {
    let keys = DatabaseKeys::open(store.database().clone());
    let keys = Arc::new(keys.map_err(|error| BuildError::wrap(Kind::Environment, error))?);
    let results = Arc::new(RefResults::new(store.clone()));
    Ok((
        Cache {
            id: "local".into(),
            keys: keys.clone(),
            results,
        },
        keys,
    ))
}
