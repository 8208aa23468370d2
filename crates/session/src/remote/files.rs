//! Directories and OCI layouts of a connected client.

use std::sync::Arc;

use super::Calls;
use super::content::Store;
use super::directories::Lent;
use crate::{FileSync, LentDirectory, LentLayout, SessionError};

pub(super) struct RemoteFiles(pub(super) Calls);

impl RemoteFiles {
    fn layout(&self, store: &str) -> Result<LentLayout, SessionError> {
        let store = Store::new(self.0.clone(), store)?;
        Ok(LentLayout::Remote(Arc::new(store)))
    }
}

#[async_trait::async_trait]
impl FileSync for RemoteFiles {
    async fn directory(&self, name: &str) -> Result<LentDirectory, SessionError> {
        let lent = Lent::new(&self.0, name)?;
        Ok(LentDirectory::Remote(Arc::new(lent)))
    }

    async fn oci_layout(&self, name: &str) -> Result<LentLayout, SessionError> {
        self.layout(&format!("oci:{name}"))
    }

    async fn cache(&self, path: &str) -> Result<LentLayout, SessionError> {
        self.layout(&format!("local:{path}"))
    }
}
