//! The cache service of GitHub Actions: keys that are written once, found by their beginning, newest first.

mod listing;
mod service;
mod token;
mod upload;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kiln_registry::WebCertificates;
use kiln_store::refs::FetchStream;
use oci_spec::image::Descriptor;
use reqwest::header::{HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::time::{Duration, Instant};

use super::blob::{BlobSource, OpenBlob};
use super::download::resumable;
use super::web::{Request, Web};
use super::{CacheStore, Door, StoreError, Task};
use crate::options::GhaOptions;
use listing::Listing;
use service::{Entry, Reserved, Service};
use token::Token;
use upload::Data;

/// The layout's version.
const VERSION: &str = "1";
/// Questions at the same time: the service counts them.
const QUESTIONS: usize = 4;
/// How long another writer of the same index may take, before it is thought to have died.
const OTHERS: Duration = Duration::from_secs(15);
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

pub(super) struct GithubCache {
    service: Service,
    listing: Option<Listing>,
    token: Token,
    scope: String,
    parallelism: usize,
}

pub(super) fn open(options: &GhaOptions, door: Door<'_>) -> Result<GithubCache, StoreError> {
    let token = Token::read(options.token.reveal()).map_err(|reason| door.setup(reason))?;
    let listing = options.repository.as_ref();
    let listing = listing.map(|(name, token)| {
        let api = door.environment.get("GITHUB_API_URL");
        Listing::new(api, name, token)
    });
    let listing = listing.transpose().map_err(|reason| door.setup(reason))?;
    let certificates = match options.url.scheme() {
        "http" if listing.as_ref().is_none_or(Listing::is_plain) => WebCertificates::Unused,
        _ => WebCertificates::Verified,
    };
    let http = door
        .client
        .web_without_redirects(certificates, None)
        .map_err(Box::new)?;
    let web = Web {
        http,
        title: door.title.clone(),
        patience: options.timeout,
    };
    let service = Service::new(web, options).map_err(|reason| door.setup(reason))?;
    Ok(GithubCache {
        service,
        listing,
        token,
        scope: options.scope.clone(),
        parallelism: options.upload_parallelism,
    })
}

fn blob_key(blob: &Descriptor) -> String {
    format!("{}{}", blob_prefix(), blob.digest())
}

fn blob_prefix() -> String {
    format!("buildkit-blob-{VERSION}-")
}

impl GithubCache {
    /// What the index of one of the service's scopes (a branch, as a rule) is called, without the number at its end.
    fn index(&self, scope: &str) -> String {
        let scope = hex::encode(Sha256::digest(scope));
        format!("index-{}-{VERSION}-{}", self.scope, &scope[..8])
    }

    async fn task(&self, blob: &Descriptor) -> Result<Option<Task>, StoreError> {
        let key = blob_key(blob);
        let found = self.service.find(&key).await?;
        // Keys are found by their beginning: another may begin with ours.
        let is_there = found.is_some_and(|entry| entry.key == key);
        Ok((!is_there).then(|| Task::Send(blob.clone())))
    }

    /// Writes the next number of an index: entries cannot be changed.
    async fn write_next(&self, index: &str, config: Bytes) -> Result<(), StoreError> {
        let start = Instant::now();
        let prefix = format!("{index}#");
        loop {
            let newest = self.service.find(&prefix).await?;
            let mut number = match &newest {
                None => 0,
                Some(entry) => number(&entry.key, &prefix)
                    .ok_or_else(|| self.service.web.failed("number an index in", &*entry.key))?,
            };
            loop {
                number += 1;
                match self.service.reserve(&format!("{prefix}{number}")).await? {
                    Reserved::Ours(entry) => {
                        return self.service.save(&entry, &Data::Bytes(config)).await;
                    }
                    // Somebody else writes it, and will be done soon; or has died, and its number stays taken.
                    Reserved::Taken if start.elapsed() < OTHERS => break,
                    Reserved::Taken => {}
                }
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
}

fn number(key: &str, prefix: &str) -> Option<u64> {
    key.strip_prefix(prefix)?.parse().ok()
}

#[async_trait]
impl CacheStore for GithubCache {
    fn readable(&self) -> Vec<String> {
        let scopes = self.token.scopes.iter();
        scopes.map(|scope| self.index(&scope.name)).collect()
    }

    fn writable(&self) -> Vec<String> {
        let mut scopes = self.token.scopes.iter().filter(|scope| scope.may_write());
        scopes
            .next_back()
            .map(|scope| self.index(&scope.name))
            .into_iter()
            .collect()
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        match self.writable().is_empty() {
            false => Ok(()),
            true => Err(self.service.web.failed(
                "write to",
                "the token may only read: such are those of jobs for pull requests from forks",
            )),
        }
    }

    async fn read(&self, name: &str, limit: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(entry) = self.service.find(&format!("{name}#")).await? else {
            return Ok(None);
        };
        let action = format!("read {} from", entry.key);
        let web = &self.service.web;
        let request = Request::new(Method::GET, entry.url);
        let answer = web.ask(&action, &request, limit).await?;
        match answer.status.is_success() {
            true => Ok(Some(answer.body)),
            false => Err(web.refusal(&action, answer.status, &answer.body)),
        }
    }

    async fn write(&self, name: &str, config: Bytes) -> Result<(), StoreError> {
        self.write_next(name, config).await
    }

    async fn plan(&self, blobs: &[Descriptor]) -> Result<Vec<Task>, StoreError> {
        if let Some(listing) = &self.listing {
            // Without the list, the service itself can be asked.
            match listing.keys(&self.service.web, &self.token).await {
                Ok(keys) => {
                    let missing = blobs.iter().filter(|blob| !keys.contains(&blob_key(blob)));
                    return Ok(missing.cloned().map(Task::Send).collect());
                }
                Err(error) => tracing::warn!(%error, "cannot list the cache's entries"),
            }
        }
        let tasks = futures::stream::iter(blobs.to_vec())
            .map(|blob| async move { self.task(&blob).await })
            .buffer_unordered(QUESTIONS)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(tasks.into_iter().flatten().collect())
    }

    async fn carry_out(&self, task: &Task, source: &BlobSource<'_>) -> Result<(), StoreError> {
        let Task::Send(blob) = task else {
            return Ok(());
        };
        match self.service.reserve(&blob_key(blob)).await? {
            // Another job brings the same blob.
            Reserved::Taken => Ok(()),
            Reserved::Ours(entry) => {
                let file = OpenBlob::new(blob, source).await?;
                self.service.save(&entry, &Data::Blob(file)).await
            }
        }
    }

    async fn open(&self, blob: &Descriptor) -> Result<FetchStream, StoreError> {
        let (service, key): (Service, Arc<str>) = (self.service.clone(), blob_key(blob).into());
        let opening = move |offset: u64| {
            let (service, key) = (service.clone(), key.clone());
            // Addresses of blobs are valid for a while only, so each attempt has its own.
            async move { open_at(&service, &key, offset).await }.boxed()
        };
        resumable(Arc::new(opening), blob.size()).await
    }
}

async fn open_at(
    service: &Service,
    key: &str,
    offset: u64,
) -> Result<reqwest::Response, StoreError> {
    let web = &service.web;
    let action = format!("read {key} from");
    let found = service.find(key).await?;
    let found: Option<Entry> = found.filter(|entry| entry.key == key);
    let Some(entry) = found else {
        return Err(web.failed(action, "it is not there"));
    };
    let mut request = Request::new(Method::GET, entry.url);
    if offset > 0 {
        let range = HeaderValue::from_str(&format!("bytes={offset}-"));
        let range = range.map_err(|error| web.failed(&*action, error.to_string()))?;
        request.headers.insert(RANGE, range);
    }
    let answer = web.send(&action, &request).await?;
    match answer.status() {
        status if status.is_success() => Ok(answer),
        StatusCode::NOT_FOUND => Err(web.failed(action, "it is not there")),
        _ => Err(web.refused(&action, answer).await),
    }
}
