//! Directories and OCI layouts of a connected client.

use std::path::PathBuf;
use std::sync::Arc;

use super::Calls;
use super::content::Store;
use crate::{FileSync, LentLayout, SessionError};

pub(super) struct RemoteFiles(pub(super) Calls);

impl RemoteFiles {
    fn layout(&self, store: &str) -> Result<LentLayout, SessionError> {
        let store = Store::new(self.0.clone(), store)?;
        Ok(LentLayout::Remote(Arc::new(store)))
    }
}

#[async_trait::async_trait]
impl FileSync for RemoteFiles {
    async fn directory(&self, name: &str) -> Result<PathBuf, SessionError> {
        Err(SessionError::UnknownDirectory { name: name.into() })
    }

    async fn oci_layout(&self, name: &str) -> Result<LentLayout, SessionError> {
        self.layout(&format!("oci:{name}"))
    }

    async fn cache(&self, path: &str) -> Result<LentLayout, SessionError> {
        self.layout(&format!("local:{path}"))
    }
}
