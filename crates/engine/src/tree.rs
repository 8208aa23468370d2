//! Opens refs as directory trees of this process.

use std::path::Path;

use bytes::Bytes;
use kiln_store::tree::Root;
use kiln_store::{MountedDir, Ref, Store, StoreErrorKind};

use crate::error::{BuildError, Kind};

/// A tree open for reading, unmounted when dropped.
pub(crate) struct OpenTree {
    pub(crate) root: Root,
    _mount: Option<MountedDir>,
}

/// Opens a materialized ref for reading, or an empty tree for `None`.
/// Blocks.
pub(crate) fn open(store: &Store, reference: Option<&Ref>) -> Result<OpenTree, BuildError> {
    let Some(reference) = reference else {
        return open_empty(store);
    };
    if let Some(dir) = reference.local_dir().map_err(store_error)? {
        return Ok(OpenTree {
            root: Root::open(&dir).map_err(tree_error)?,
            _mount: None,
        });
    }
    let mount = store
        .mount(&reference.mounts().map_err(store_error)?)
        .map_err(store_error)?;
    let root = Root::open(mount.path()).map_err(tree_error)?;
    Ok(OpenTree {
        root,
        _mount: Some(mount),
    })
}

fn open_empty(store: &Store) -> Result<OpenTree, BuildError> {
    let dir = store.root().join("empty");
    let made = std::fs::create_dir_all(&dir);
    made.map_err(|error| BuildError::wrap(Kind::Environment, error).context(dir.display()))?;
    Ok(OpenTree {
        root: Root::open(&dir).map_err(tree_error)?,
        _mount: None,
    })
}

/// Opens what a container has mounted at `target`, for reading: changes to
/// it show, as far as the kernel has them. Blocks.
pub(crate) fn open_for_look(
    store: &Store,
    sources: &[kiln_executor::Mount],
    target: &Path,
) -> Result<OpenTree, BuildError> {
    let [source] = sources else {
        let message = format!("{} is no single mount to look into", target.display());
        return Err(BuildError::new(Kind::Internal, message));
    };
    let mut options = vec!["ro".to_owned()];
    let mut layers = Vec::new();
    for option in &source.options {
        match option.split_once('=') {
            // What was changed lies on top.
            Some(("upperdir", dir)) => layers.insert(0, dir),
            Some(("lowerdir", dirs)) => layers.push(dirs),
            Some(("workdir", _)) => {}
            None if matches!(option.as_str(), "rw" | "ro" | "volatile") => {}
            _ => options.push(option.clone()),
        }
    }
    match source.kind.as_str() {
        "bind" => {}
        "overlay" => options.push(format!("lowerdir={}", layers.join(":"))),
        other => {
            let message = format!(
                "{} is a {other}, which only its processes see",
                target.display()
            );
            return Err(BuildError::new(Kind::Input, message));
        }
    }
    let mount = store
        .mount(&[kiln_store::Mount {
            kind: source.kind.clone(),
            source: source.source.clone(),
            options,
        }])
        .map_err(store_error)?;
    Ok(OpenTree {
        root: Root::open(mount.path()).map_err(tree_error)?,
        _mount: Some(mount),
    })
}

/// The store knows whom its errors concern.
pub(crate) fn store_error(error: kiln_store::StoreError) -> BuildError {
    let kind = match error.kind() {
        StoreErrorKind::Input => Kind::Input,
        StoreErrorKind::Internal => Kind::Internal,
        StoreErrorKind::Environment | StoreErrorKind::Unprivileged => Kind::Environment,
    };
    let is_disk_full = error.is_disk_full();
    let error = BuildError::wrap(kind, error);
    match is_disk_full {
        true => {
            error.hint("free space with buildctl prune, or keep state elsewhere with --root DIR")
        }
        false => error,
    }
}

/// A file operation that failed says what is wrong with the request.
pub(crate) fn tree_error(error: kiln_store::tree::TreeError) -> BuildError {
    BuildError::wrap(Kind::Input, error)
}

/// Largest file that is read into memory.
const MAX_FILE: u64 = 64 << 20;

/// Reads a file: `None` if there is none, only its first `limit` bytes if
/// that is given. Blocks.
pub(crate) fn read_file(
    root: &Root,
    path: &str,
    limit: Option<usize>,
) -> Result<Option<Bytes>, BuildError> {
    use std::io::Read as _;
    let file = match root.open_file(path) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) if error.is_a_directory() => {
            let message = format!("{path} is not a regular file");
            return Err(BuildError::new(Kind::Input, message));
        }
        Err(error) => return Err(tree_error(error)),
    };
    let most = limit.map_or(MAX_FILE, |limit| limit as u64);
    let mut bytes = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| BuildError::wrap(Kind::Environment, error).context(path))?;
    if limit.is_none() && bytes.len() as u64 > MAX_FILE {
        let message =
            format!("{path} has more than {MAX_FILE} bytes, which is too much to read at once");
        return Err(BuildError::new(Kind::Input, message));
    }
    bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(Some(bytes.into()))
}
