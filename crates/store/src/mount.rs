//! How a tree is mounted, as plain data, and trees opened for this process alone.

mod overlay;

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::disk::DiskError;
use crate::store::Store;

pub(crate) use overlay::{MAX_LAYERS, OverlayFlavor, WritableLayer};

/// One mount, as plain data for whoever performs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// "overlay" or "bind".
    pub kind: String,
    /// The directory of a bind mount; the device name ("overlay") otherwise.
    pub source: PathBuf,
    /// "ro" or "rw", and for overlay its options as mount(8) takes them: `lowerdir=TOP:…:BOTTOM`, `upperdir=DIR`,
    /// `workdir=DIR`, flags such as `volatile`. There may be hundreds of layers, more than the page of data that
    /// mount(2) takes: then the layers must be given to fsconfig(2) one by one as `lowerdir+`.
    pub options: Vec<String>,
}

impl Mount {
    pub(crate) fn bind(source: PathBuf, access: Access) -> Mount {
        Mount {
            kind: "bind".to_owned(),
            source,
            options: vec![access.option().to_owned()],
        }
    }

    /// Whether the options ask for a read-only mount.
    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }
}

/// Whether a mount may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// No.
    Read,
    /// Yes.
    Write,
}

impl Access {
    fn option(self) -> &'static str {
        match self {
            Access::Read => "ro",
            Access::Write => "rw",
        }
    }
}

/// A directory tree opened for this process. An overlay is mounted detached, outside every mount namespace, so
/// nothing is left behind however the process ends. Dropping it unmounts. Keep the ref that it shows meanwhile.
#[derive(Debug)]
pub struct MountedDir {
    path: PathBuf,
    tree: Option<OwnedFd>,
    /// Who unmounts a tree that nobody needs to wait for. The kernel takes its time for that.
    unmounter: Option<Store>,
}

impl MountedDir {
    /// The root of the tree. Valid in this process only (it may lie under `/proc/self/fd`) and until drop.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Performs `mount` for this process.
    pub(crate) fn open(mount: &Mount, store: &Store) -> Result<MountedDir, MountError> {
        if mount.kind == "bind" {
            let path = mount.source.clone();
            return Ok(MountedDir {
                path,
                tree: None,
                unmounter: None,
            });
        }
        let tree = overlay::mount_detached(mount, store.snapshots().mounts())?;
        Ok(MountedDir {
            path: format!("/proc/self/fd/{}", tree.as_raw_fd()).into(),
            tree: Some(tree),
            // A writable one must be gone when its upper directory is committed.
            unmounter: mount.is_read_only().then(|| store.clone()),
        })
    }
}

impl Drop for MountedDir {
    fn drop(&mut self) {
        if let (Some(tree), Some(store)) = (self.tree.take(), &self.unmounter) {
            store.unmount(tree);
        }
    }
}

/// Why a tree could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The process lacks CAP_SYS_ADMIN in its user namespace.
    #[error(
        "cannot mount {what}: not permitted; run as root, or in a user namespace that maps this user to root"
    )]
    Unprivileged {
        /// What was to be mounted.
        what: String,
    },
    /// The kernel refused for another reason.
    #[error("cannot mount {what}: {step}: {source}")]
    Refused {
        /// What was to be mounted.
        what: String,
        /// The step, with the kernel's own message where it gave one.
        step: String,
        /// The error.
        #[source]
        source: std::io::Error,
    },
    /// More layers than can be stacked.
    #[error(
        "cannot mount {layers} layers: at most {limit} can be stacked here; use fewer layers (join RUN and COPY steps)"
    )]
    TooManyLayers {
        /// How many there are.
        layers: usize,
        /// How many are possible.
        limit: usize,
    },
    /// A directory could not be prepared.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
