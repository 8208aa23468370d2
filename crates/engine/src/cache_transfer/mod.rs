//! Caches that come from elsewhere and go elsewhere: `--import-cache` and
//! `--export-cache`. Whatever is wrong with an import is a miss and a
//! warning.

mod export;
mod import;
mod mount_exports;
mod mounts;
mod remotes;

pub(crate) use export::{CacheExport, export_all, inline_records, parse_exports};
pub(crate) use import::{Imports, parse_imports};
pub(crate) use mount_exports::MountExports;
pub(crate) use mounts::{BuildMounts, ImportedMount};

use std::path::Path;

use kiln_remote_cache::{Place, RemoteStore, StoreOptions};
use kiln_session::{LentLayout, Session};

use crate::engine::Engine;
use crate::error::{BuildError, Kind};
use crate::ops::source::session_error;

/// The way to a cache directory that is with a client elsewhere; `None` if it is on this
/// machine.
async fn client_cache(session: &Session, path: &Path) -> Result<Option<Place>, BuildError> {
    let lent = session.files.cache(&path.to_string_lossy()).await;
    Ok(match lent.map_err(session_error)? {
        LentLayout::Here(_) => None,
        LentLayout::Remote(store) => Some(Place::Client(store)),
    })
}

/// The way to a store of objects.
async fn store(engine: &Engine, options: &StoreOptions) -> Result<Place, BuildError> {
    let opened = RemoteStore::open(options, &engine.stores, &engine.registry).await;
    let opened = opened.map_err(|error| BuildError::wrap(Kind::Environment, error))?;
    Ok(Place::Store(opened))
}
