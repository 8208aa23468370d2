//! A result's files, opened for reading.

use std::os::fd::OwnedFd;

use kiln_store::{MountedDir, Ref, Store};
use rustix::fs::{Mode, OFlags};

use crate::attestation::StatementDirectory;
use crate::{ExportError, ExportInput, PlatformResult, Shape};

/// The tree of one platform. Closing it unmounts it, if it had to be mounted.
pub(crate) struct OpenTree {
    /// The root directory; `None` is an empty tree.
    pub(crate) root: Option<OwnedFd>,
    /// The platform, as local exports name it.
    pub(crate) platform: String,
    /// What is said of the tree, to be laid over it.
    pub(crate) statements: Option<StatementDirectory>,
    _mounted: Option<MountedDir>,
    _reference: Option<Ref>,
}

impl OpenTree {
    /// The directories that lie over each other in what is written.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &OwnedFd> {
        let statements = self.statements.as_ref();
        self.root
            .iter()
            .chain(statements.map(|directory| &directory.root))
    }
}

/// The error for a result with a file of the name that an attestation gets.
pub(crate) fn attestation_in_the_way(path: &str) -> ExportError {
    ExportError::Result(format!(
        "cannot write attestation {path}: the result has a file of this name; set attestation-prefix"
    ))
}

/// The folder that holds a platform's files when platforms are split.
pub(crate) fn folder_name(platform: &str) -> String {
    platform.replace('/', "_")
}

/// Whether every platform gets a folder.
pub(crate) fn is_split(input: &ExportInput, option: Option<bool>) -> bool {
    option.unwrap_or(input.shape == Shape::Index)
}

/// Opens the trees of all platforms; each must be materialized.
pub(crate) fn open_trees(store: &Store, input: &ExportInput) -> Result<Vec<OpenTree>, ExportError> {
    input
        .platforms
        .iter()
        .map(|result| open_tree(store, result))
        .collect()
}

fn open_tree(store: &Store, result: &PlatformResult) -> Result<OpenTree, ExportError> {
    let platform = kiln_llb::platform::format_all(&result.platform);
    let Some(reference) = &result.reference else {
        return Ok(OpenTree {
            root: None,
            platform,
            statements: None,
            _mounted: None,
            _reference: None,
        });
    };
    let (root, mounted) = open_ref(store, reference)?;
    Ok(OpenTree {
        root: Some(root),
        platform,
        statements: None,
        _mounted: mounted,
        _reference: Some(reference.clone()),
    })
}

/// The root directory of a materialized ref. It is unmounted, if it had to be mounted, when the second value goes.
pub(crate) fn open_ref(
    store: &Store,
    reference: &Ref,
) -> Result<(OwnedFd, Option<MountedDir>), ExportError> {
    let failed = |error: kiln_store::StoreError| ExportError::Store(error.into());
    let (path, mounted) = match reference.local_dir().map_err(failed)? {
        Some(path) => (path, None),
        None => {
            let mounted = store
                .mount(&reference.mounts().map_err(failed)?)
                .map_err(failed)?;
            (mounted.path().to_owned(), Some(mounted))
        }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| ExportError::File {
            action: "open",
            path,
            source: error.into(),
        })?;
    Ok((root, mounted))
}
