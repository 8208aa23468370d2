//! Which repositories have a layer's blobs, so that a push to the same registry need not send them.

use super::Ref;
use crate::store::StoreError;

/// The value that holds them, one a line, the newest first.
const NAME: &str = "blob.origins";

/// More are not of use to anybody.
const MOST: usize = 8;

impl Ref {
    /// Names of repositories, such as `docker.io/library/alpine`, that had the layer's blobs when they were last seen;
    /// the newest first.
    pub fn origins(&self) -> Result<Vec<String>, StoreError> {
        let text = self.value(NAME)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Remembers that a repository has the layer's blobs.
    pub fn add_origin(&self, repository: &str) -> Result<(), StoreError> {
        let mut origins = self.origins()?;
        if origins.first().is_some_and(|first| first == repository) {
            return Ok(());
        }
        origins.retain(|origin| origin != repository);
        origins.insert(0, repository.to_owned());
        origins.truncate(MOST);
        self.set_value(NAME, origins.join("\n").as_bytes())
    }
}
