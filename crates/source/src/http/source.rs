//! Finds out what a file on a web server is now, and brings it here.

use std::sync::Arc;

use kiln_llb::redact;
use kiln_registry::Client as RegistryClient;
use kiln_session::Session;
use kiln_store::{Ref, Store};
use oci_spec::image::Digest;
use reqwest::{Response, StatusCode};

use super::content::{ChecksumRequest, Content};
use super::filename;
use super::identifier::HttpIdentifier;
use super::remember::{self, Before, Memory};
use super::request::Remote;
use super::save::Saving;
use crate::CacheKey;
use crate::blocking::blocking;
use crate::error::SourceError;
use crate::single_file::SingleFile;

/// Told how many bytes of how many have come; 0 means that the number is not known.
pub type DownloadProgress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Gives files of web servers. Cheap to clone.
#[derive(Clone)]
pub struct HttpSource {
    store: Store,
    /// Whose way to the network is used.
    network: RegistryClient,
}

/// A file as its server has it now.
#[derive(Debug, Clone)]
pub struct HttpFile {
    /// Of its content.
    pub digest: Digest,
    filename: String,
    /// As a cache key shows it.
    modified: Option<String>,
    /// Its tree, if it had to be fetched to know the rest.
    reference: Option<Ref>,
}

impl HttpFile {
    /// What it is called here.
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// When it was changed last, as its server says, in seconds since the epoch.
    pub fn modified(&self) -> Option<i64> {
        let time = remember::time(self.modified.as_deref()?)?;
        let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_secs()).ok()
    }

    /// The cache key of what an identifier makes of this file.
    pub fn cache_key(&self, identifier: &HttpIdentifier) -> Result<CacheKey, SourceError> {
        let modified = self.modified.clone();
        Ok(CacheKey {
            key: identifier.cache_key(&self.filename, &self.digest, modified)?,
            pin: self.digest.to_string(),
            more: false,
        })
    }

    fn of(before: &Before) -> Self {
        let memory = &before.memory;
        Self {
            digest: memory.digest.clone(),
            filename: memory.filename.clone(),
            modified: memory.time().map(httpdate::fmt_http_date),
            reference: Some(before.reference.clone()),
        }
    }
}

impl HttpSource {
    /// Files are kept in `store`. Proxies, name resolution and trusted certificates are those of the registry client.
    pub fn new(store: Store, network: RegistryClient) -> Self {
        Self { store, network }
    }

    /// What the file is, signed by whom the identifier demands. With a checksum alone that is known without asking; a
    /// file that is here is not fetched again unless it has changed.
    pub async fn resolve(
        &self,
        identifier: &HttpIdentifier,
        sessions: &[Session],
        progress: DownloadProgress,
    ) -> Result<HttpFile, SourceError> {
        if let Some(digest) = &identifier.checksum
            && identifier.signature.is_none()
        {
            return Ok(HttpFile {
                digest: digest.clone(),
                filename: filename::choose(&identifier.filename, None, &identifier.url),
                modified: None,
                reference: None,
            });
        }
        let before = self.wanted(identifier, sessions, progress).await?;
        if let Some(signature) = identifier.signature.clone() {
            let content = self.content(identifier, &before);
            blocking(move || content()?.verify(&signature)).await?;
        }
        Ok(HttpFile::of(&before))
    }

    /// A further checksum of the file.
    pub async fn checksum(
        &self,
        identifier: &HttpIdentifier,
        request: ChecksumRequest,
        sessions: &[Session],
        progress: DownloadProgress,
    ) -> Result<String, SourceError> {
        let before = self.wanted(identifier, sessions, progress).await?;
        let content = self.content(identifier, &before);
        blocking(move || content()?.checksum(&request)).await
    }

    /// The file in a tree of its own.
    pub async fn snapshot(
        &self,
        identifier: &HttpIdentifier,
        file: &HttpFile,
        sessions: &[Session],
        progress: DownloadProgress,
    ) -> Result<Ref, SourceError> {
        if let Some(reference) = &file.reference {
            return Ok(reference.clone());
        }
        let before = self.wanted(identifier, sessions, progress).await?;
        Ok(before.reference)
    }

    /// The file with the checksum that the identifier demands, if it is here, else as the server has it.
    async fn wanted(
        &self,
        identifier: &HttpIdentifier,
        sessions: &[Session],
        progress: DownloadProgress,
    ) -> Result<Before, SourceError> {
        if let Some(digest) = &identifier.checksum
            && let Some(before) = self.recall(identifier).await?
            && before.memory.digest == *digest
        {
            return Ok(before);
        }
        let before = self.current(identifier, sessions, progress).await?;
        // One that has not changed since a build without this checksum is not fetched, and so not compared.
        match &identifier.checksum {
            Some(expected) if *expected != before.memory.digest => {
                Err(SourceError::DownloadDigest {
                    url: redact::credentials(&identifier.url),
                    actual: before.memory.digest,
                    expected: expected.clone(),
                })
            }
            _ => Ok(before),
        }
    }

    /// How to open a file that is here.
    fn content(
        &self,
        identifier: &HttpIdentifier,
        before: &Before,
    ) -> impl FnOnce() -> Result<Content, SourceError> + Send + 'static {
        let (store, tree) = (self.store.clone(), before.reference.clone());
        let (name, url) = (
            before.memory.filename.clone(),
            redact::credentials(&identifier.url),
        );
        move || Content::open(&store, &tree, &name, url)
    }

    /// The file as the server has it now, fetched if it is not here.
    async fn current(
        &self,
        identifier: &HttpIdentifier,
        sessions: &[Session],
        progress: DownloadProgress,
    ) -> Result<Before, SourceError> {
        let network = self.network.web()?;
        let remote = Remote::new(&network, identifier, sessions).await?;
        let before = self.recall(identifier).await?;
        // What a server has no name or date for must be fetched to be known.
        let before = before
            .filter(|before| before.memory.etag.is_some() || before.memory.modified.is_some());
        if let Some(before) = before.as_ref().filter(|it| it.memory.etag.is_some())
            && is_unchanged_by_head(&remote, identifier, before).await
        {
            return Ok(before.clone());
        }
        let memory = before.as_ref().map(|before| &before.memory);
        let response = remote.get(memory).await?;
        match before {
            Some(before) if response.status() == StatusCode::NOT_MODIFIED => Ok(before),
            _ => self.fetch(identifier, &remote, response, progress).await,
        }
    }

    async fn fetch(
        &self,
        identifier: &HttpIdentifier,
        remote: &Remote,
        response: Response,
        progress: DownloadProgress,
    ) -> Result<Before, SourceError> {
        let headers = response.headers().clone();
        let filename = filename::choose(&identifier.filename, Some(&headers), &identifier.url);
        let modified = remember::last_modified(&headers);
        let saving = Saving {
            store: self.store.clone(),
            file: SingleFile {
                name: filename.clone(),
                mode: identifier.mode,
                uid: identifier.uid,
                gid: identifier.gid,
                modified: modified.as_deref().and_then(remember::time),
            },
            checksum: identifier.checksum.clone(),
            url: remote.name(),
        };
        let (reference, digest) = saving.save(response, remote, &*progress).await?;
        let memory = Memory::new(&headers, digest, filename);
        let before = Before { reference, memory };
        let (store, identifier, kept) = (self.store.clone(), identifier.clone(), before.clone());
        blocking(move || remember::remember(&store, &identifier, &kept)).await?;
        Ok(before)
    }

    async fn recall(&self, identifier: &HttpIdentifier) -> Result<Option<Before>, SourceError> {
        let (store, identifier) = (self.store.clone(), identifier.clone());
        blocking(move || remember::recall(&store, &identifier)).await
    }
}

/// Some servers give entity tags and do not know what to do with them in a request: whether the tag is the same can
/// be seen without.
async fn is_unchanged_by_head(
    remote: &Remote,
    identifier: &HttpIdentifier,
    before: &Before,
) -> bool {
    let Some(response) = remote.try_head(&before.memory).await else {
        return false;
    };
    let headers = response.headers();
    let has_same_name = || {
        let name = filename::choose(&identifier.filename, Some(headers), &identifier.url);
        name == before.memory.filename
    };
    match (remember::etag(headers), response.status()) {
        (None, StatusCode::NOT_MODIFIED) => true,
        (Some(etag), StatusCode::NOT_MODIFIED | StatusCode::OK) => {
            before.memory.etag.as_ref() == Some(&etag) && has_same_name()
        }
        _ => false,
    }
}
