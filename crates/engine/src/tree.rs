//! Opens refs as directory trees of this process.

use kiln_store::tree::Root;
use kiln_store::{MountedDir, Ref, Store};

use crate::error::{BuildError, Kind};

/// A tree open for reading, unmounted when dropped.
pub(crate) struct OpenTree {
    pub(crate) root: Root,
    _mount: Option<MountedDir>,
}

/// Opens a materialized ref for reading, or an empty tree for `None`.
/// Blocks.
pub(crate) fn open(store: &Store, reference: Option<&Ref>) -> Result<OpenTree, BuildError> {
    let Some(reference) = reference else { return open_empty(store) };
    if let Some(dir) = reference.local_dir().map_err(store_error)? {
        return Ok(OpenTree { root: Root::open(&dir).map_err(tree_error)?, _mount: None });
    }
    let mount = store.mount(&reference.mounts().map_err(store_error)?).map_err(store_error)?;
    let root = Root::open(mount.path()).map_err(tree_error)?;
    Ok(OpenTree { root, _mount: Some(mount) })
}

fn open_empty(store: &Store) -> Result<OpenTree, BuildError> {
    let dir = store.root().join("empty");
    let made = std::fs::create_dir_all(&dir);
    made.map_err(|error| BuildError::wrap(Kind::Environment, error).context(dir.display()))?;
    Ok(OpenTree { root: Root::open(&dir).map_err(tree_error)?, _mount: None })
}

/// Trouble with local storage is the machine's.
pub(crate) fn store_error(error: kiln_store::StoreError) -> BuildError {
    BuildError::wrap(Kind::Environment, error)
}

/// A file operation that failed says what is wrong with the request.
pub(crate) fn tree_error(error: kiln_store::tree::TreeError) -> BuildError {
    BuildError::wrap(Kind::Input, error)
}
