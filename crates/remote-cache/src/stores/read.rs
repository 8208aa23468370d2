//! Reading a cache from a store.

use sha2::{Digest as _, Sha256};

use super::RemoteStore;
use crate::config::CacheConfig;
use crate::graph::CacheGraph;
use crate::parse::{add_records, usable_blobs};
use crate::place::{LIMIT, ReadError};
use crate::stored;

/// A cache as it was found.
pub(crate) struct Stored {
    /// Tells it from what it was or will be.
    pub(crate) id: String,
    pub(crate) graph: CacheGraph,
}

/// Reads what is under all names that may be read. One that is missing or wrong does not keep from using the others.
pub(crate) async fn read(
    store: &RemoteStore,
    title: &str,
    warnings: &mut Vec<String>,
) -> Result<Stored, ReadError> {
    let mut graph = CacheGraph::default();
    let mut id = format!("{title}:");
    let (mut missing, mut errors) = (Vec::new(), Vec::new());
    let mut found = false;
    for name in store.0.readable() {
        let bytes = match store.0.read(&name, LIMIT).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                missing.push(name);
                continue;
            }
            Err(error) => {
                errors.push(error.to_string());
                continue;
            }
        };
        match add(&bytes, &mut graph, warnings) {
            Ok(()) => {
                found = true;
                id += &hex::encode(Sha256::digest(&bytes));
            }
            Err(error) => warnings.push(format!("cache {name} of {title} skipped: {error}")),
        }
    }
    match (found, errors.is_empty()) {
        (false, true) => Err(format!("there is no cache named {}", missing.join(" or ")).into()),
        (false, false) => Err(errors.join("; ").into()),
        (true, _) => {
            let told = errors.into_iter();
            warnings.extend(told.map(|error| format!("a cache was left out: {error}")));
            Ok(Stored { id, graph })
        }
    }
}

fn add(bytes: &[u8], graph: &mut CacheGraph, warnings: &mut Vec<String>) -> Result<(), ReadError> {
    let config: CacheConfig = serde_json::from_slice(bytes)?;
    let listed = stored::descriptors(&config, warnings);
    let blobs = usable_blobs(&listed, warnings);
    // What is wrong further down must not leave half of it in the graph.
    add_records(&config, &blobs, &mut CacheGraph::default())?;
    add_records(&config, &blobs, graph)?;
    Ok(())
}
