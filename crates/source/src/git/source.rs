//! Finds out what a reference of a repository is now, and brings its files here.

use bytes::Bytes;
use kiln_registry::ProxySettings;
use kiln_session::Session;
use kiln_store::{MutableRef, Ref, Store};

use super::access::Address;
use super::bundle::Bundles;
use super::command::Reach;
use super::identifier::{GitDirectory, GitIdentifier};
use super::output::GitLog;
use super::resolve::{self, GitRevision};
use super::signature;
use super::task::Task;
use crate::blocking::blocking;
use crate::error::SourceError;
use crate::image::{ImageSource, LayoutSource};

/// Gives files of git repositories. Cheap to clone.
#[derive(Clone)]
pub struct GitSource {
    store: Store,
    proxies: ProxySettings,
    bundles: Bundles,
}

/// What is written in a revision itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitObjects {
    /// Name of the commit.
    pub commit_name: String,
    /// The commit.
    pub commit: Bytes,
    /// The annotated tag, if the reference is one.
    pub tag: Option<Bytes>,
}

impl GitSource {
    /// Repositories are kept in `store`; blobs that are bundles come from images.
    pub fn new(
        store: Store,
        proxies: ProxySettings,
        images: ImageSource,
        layouts: LayoutSource,
    ) -> Self {
        Self {
            store,
            proxies,
            bundles: Bundles { images, layouts },
        }
    }

    /// What the reference stands for now, whoever made it: [`GitSource::verify`] has to follow. The server is not
    /// asked about commits.
    pub async fn resolve(
        &self,
        identifier: &GitIdentifier,
        sessions: &[Session],
        log: GitLog,
    ) -> Result<GitRevision, SourceError> {
        if let Some(revision) = resolve::known(identifier)? {
            return Ok(revision);
        }
        let task = self.task(identifier, sessions, log);
        let git = task.git(&task.main, identifier.shown()).await?;
        match task.bundle_file().await? {
            None => Ok(resolve::ask(&git, (&task.main.url, Reach::Network), identifier).await?),
            Some(file) => {
                let file = file.display().to_string();
                Ok(resolve::ask(&git, (&file, Reach::Local), identifier).await?)
            }
        }
    }

    /// Checks that the revision is signed as the identifier demands, if it does.
    pub async fn verify(
        &self,
        identifier: &GitIdentifier,
        revision: &GitRevision,
        sessions: &[Session],
        log: GitLog,
    ) -> Result<(), SourceError> {
        let Some(wanted) = &identifier.signature else {
            return Ok(());
        };
        let objects = self.objects(identifier, revision, sessions, log).await?;
        let (wanted, url) = (wanted.clone(), identifier.url());
        blocking(move || Ok(signature::check(&url, &wanted, &objects)?)).await
    }

    /// The files in a tree of their own.
    pub async fn snapshot(
        &self,
        identifier: &GitIdentifier,
        revision: &GitRevision,
        sessions: &[Session],
        log: GitLog,
    ) -> Result<Ref, SourceError> {
        let key = format!("git:{}", revision.cache_key(identifier).key);
        if let Some(known) = self.recall(&key).await? {
            return Ok(known);
        }
        let task = self.task(identifier, sessions, log);
        let tree = match identifier.git_directory {
            GitDirectory::Bundled => task.bundle(revision).await?,
            GitDirectory::Dropped | GitDirectory::Kept => task.check_out(revision).await?,
        };
        self.remember(key, tree).await
    }

    /// The commit itself, and the tag.
    pub async fn objects(
        &self,
        identifier: &GitIdentifier,
        revision: &GitRevision,
        sessions: &[Session],
        log: GitLog,
    ) -> Result<GitObjects, SourceError> {
        let task = self.task(identifier, sessions, log);
        let git = task.git(&task.main, identifier.shown()).await?;
        let part = task.main_part(revision);
        let repository = task.fetched(&git, &task.main, &part).await?;
        let object = &revision.checksum;
        let commit_name = repository.commit_of(object).await?;
        let tag = match commit_name == *object {
            true => None,
            false => Some(repository.object("tag", object).await?.into()),
        };
        Ok(GitObjects {
            commit: repository.object("commit", &commit_name).await?.into(),
            commit_name,
            tag,
        })
    }

    fn task<'a>(
        &'a self,
        identifier: &'a GitIdentifier,
        sessions: &'a [Session],
        log: GitLog,
    ) -> Task<'a> {
        Task {
            store: &self.store,
            proxies: &self.proxies,
            bundles: &self.bundles,
            identifier,
            main: Address::of(&identifier.remote),
            sessions,
            log,
        }
    }

    async fn recall(&self, key: &str) -> Result<Option<Ref>, SourceError> {
        let (store, key) = (self.store.clone(), key.to_owned());
        blocking(move || Ok(store.ref_by_key(&key)?)).await
    }

    async fn remember(&self, key: String, tree: MutableRef) -> Result<Ref, SourceError> {
        let store = self.store.clone();
        blocking(move || {
            let tree = tree.commit()?;
            store.set_key(&key, &tree)?;
            Ok(tree)
        })
        .await
    }
}
