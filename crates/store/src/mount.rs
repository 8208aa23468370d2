//! How a tree is mounted, as plain data, and mounts held by this process alone.

use std::path::{Path, PathBuf};

use crate::disk::DiskError;

/// One mount, as plain data for whoever performs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// "overlay" or "bind".
    pub kind: String,
    /// The directory of a bind mount; the device name ("overlay") otherwise.
    pub source: PathBuf,
    /// "ro"/"rw", and for overlay the keys of fsconfig(2): one `lowerdir+=DIR` per layer, topmost first, then
    /// `upperdir=DIR`, `workdir=DIR` and flags such as `volatile`. There may be hundreds of layers, more than
    /// one page of mount(2) data can name, so perform it with fsopen(2) and one fsconfig(2) call per option.
    pub options: Vec<String>,
}

impl Mount {
    /// Whether the options ask for a read-only mount.
    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }
}

/// A directory tree opened for this process. An overlay is mounted detached, outside every mount namespace, so
/// nothing is left behind however the process ends. Dropping it unmounts.
#[derive(Debug)]
pub struct MountedDir {
    path: PathBuf,
}

impl MountedDir {
    /// The root of the tree. Valid in this process only (it may lie under `/proc/self/fd`) and until drop.
    pub fn path(&self) -> &Path {
        &self.path
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
    /// More layers than overlayfs can stack.
    #[error(
        "cannot mount {layers} layers: overlayfs stacks at most {limit}; use fewer layers (join RUN and COPY steps)"
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
