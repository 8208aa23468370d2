//! Directories and OCI layouts that the client lends by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::SessionError;
use crate::transfer::RemoteDirectory;

/// Gives access to the client's files.
#[async_trait::async_trait]
pub trait FileSync: Send + Sync {
    /// The directory lent under `name`, such as `context`.
    async fn directory(&self, name: &str) -> Result<LentDirectory, SessionError>;

    /// The OCI image layout directory lent under store id `name`.
    async fn oci_layout(&self, name: &str) -> Result<PathBuf, SessionError>;
}

/// Where a lent directory is.
#[derive(Clone)]
pub enum LentDirectory {
    /// On this machine: it is read as it lies there.
    Here(PathBuf),
    /// With a client elsewhere, who sends it.
    Remote(Arc<dyn RemoteDirectory>),
}

/// Lent paths held in two maps: what `--local` and `--oci-layout` say.
#[derive(Debug, Clone, Default)]
pub struct Directories {
    /// Directories by name.
    pub directories: BTreeMap<String, PathBuf>,
    /// OCI layout directories by store id.
    pub oci_layouts: BTreeMap<String, PathBuf>,
}

#[async_trait::async_trait]
impl FileSync for Directories {
    async fn directory(&self, name: &str) -> Result<LentDirectory, SessionError> {
        let path = self.directories.get(name).cloned();
        path.map(LentDirectory::Here)
            .ok_or_else(|| SessionError::UnknownDirectory { name: name.into() })
    }

    async fn oci_layout(&self, name: &str) -> Result<PathBuf, SessionError> {
        let path = self.oci_layouts.get(name).cloned();
        path.ok_or_else(|| SessionError::UnknownLayout { name: name.into() })
    }
}
