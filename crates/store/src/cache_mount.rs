//! Named directories that outlive builds: `RUN --mount=type=cache`.

use std::path::Path;

use crate::mount::Mount;
use crate::refs::Ref;

/// Who may use a cache directory at the same time, in this and other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Any number of users at once.
    #[default]
    Shared,
    /// One user; another one at the same time gets a directory of its own.
    Private,
    /// One user; others wait.
    Locked,
}

/// Which cache directory is wanted.
#[derive(Debug, Clone)]
pub struct CacheMountRequest<'a> {
    /// The name given with `id=`, with any namespace already put in front.
    pub id: &'a str,
    /// Who may use it at the same time.
    pub sharing: Sharing,
    /// The tree a new directory starts with. Directories of different seeds are different caches.
    pub seed: Option<&'a Ref>,
    /// Told by `du --verbose`, such as `cached mount /root/.cache from exec /bin/sh -c make`.
    pub description: String,
}

/// A cache directory in use. Dropping it lets others have it.
#[derive(Debug)]
pub struct CacheMount {
    _todo: (),
}

impl CacheMount {
    /// The id of its record in `du`.
    pub fn id(&self) -> &str {
        todo!()
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        todo!()
    }

    /// A writable bind mount of the directory.
    pub fn mounts(&self) -> Vec<Mount> {
        todo!()
    }
}
