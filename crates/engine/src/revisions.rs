//! What references of repositories were when a build first asked: all of a build sees the same commit, also if the
//! branch moves on meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kiln_session::Session;
use kiln_source::{GitIdentifier, GitLog, GitRevision, GitSource, SourceError};
use tokio::sync::OnceCell;

/// The revisions of one build.
#[derive(Default)]
pub(crate) struct Revisions(Mutex<HashMap<String, Arc<OnceCell<GitRevision>>>>);

impl Revisions {
    /// What the reference stands for in this build, signed by whom `git` demands.
    pub(crate) async fn resolve(
        &self,
        source: &GitSource,
        git: &GitIdentifier,
        sessions: &[Session],
        log: GitLog,
    ) -> Result<GitRevision, SourceError> {
        let cell = self.cell(git);
        let revision = cell.get_or_try_init(|| source.resolve(git, sessions, log.clone()));
        let revision = revision.await?.clone();
        // Of the same revision some may demand a signature and others not.
        source.verify(git, &revision, sessions, log).await?;
        Ok(revision)
    }

    /// Whoever demands another commit asks again.
    fn cell(&self, git: &GitIdentifier) -> Arc<OnceCell<GitRevision>> {
        let key = format!(
            "{}#{}\n{}\n{}",
            git.remote, git.reference, git.checksum, git.is_by_commit
        );
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry(key).or_default().clone()
    }
}
