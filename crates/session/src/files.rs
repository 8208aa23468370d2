//! Directories and OCI layouts that the client lends by name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::transfer::RemoteDirectory;
use crate::{RemoteContent, SessionError};

/// Gives access to the client's files.
#[async_trait::async_trait]
pub trait FileSync: Send + Sync {
    /// The directory lent under `name`, such as `context`.
    async fn directory(&self, name: &str) -> Result<LentDirectory, SessionError>;

    /// The OCI image layout directory lent under store id `name`.
    async fn oci_layout(&self, name: &str) -> Result<LentLayout, SessionError>;

    /// The OCI layout directory of a cache, by the path the client has for it.
    async fn cache(&self, path: &str) -> Result<LentLayout, SessionError>;
}

/// Where an OCI layout directory is.
#[derive(Clone)]
pub enum LentLayout {
    /// On this machine.
    Here(PathBuf),
    /// With a client elsewhere, who gives and takes its blobs. Its index stays there.
    Remote(Arc<dyn RemoteContent>),
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

    async fn oci_layout(&self, name: &str) -> Result<LentLayout, SessionError> {
        let path = self.oci_layouts.get(name).cloned();
        path.map(LentLayout::Here)
            .ok_or_else(|| SessionError::UnknownLayout { name: name.into() })
    }

    async fn cache(&self, path: &str) -> Result<LentLayout, SessionError> {
        Ok(LentLayout::Here(path.into()))
    }
}
