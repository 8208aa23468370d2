//! Pushing blobs and manifests.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use oci_spec::image::{Descriptor, Digest};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};

use crate::client::{Access, Repository};
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::reference::Reference;
use crate::resolve::digest_header;
use crate::send::{Body, Persistence, Request, status_error};

/// Pieces in which a file is read for sending.
const READ_SIZE: usize = 256 << 10;

/// Where a blob's bytes come from. They may be read more than once.
#[derive(Clone)]
pub enum BlobData {
    /// From memory.
    Bytes(Bytes),
    /// From a file, opened anew for each attempt.
    File(Arc<dyn Fn() -> io::Result<File> + Send + Sync>),
}

impl BlobData {
    /// From a content store.
    pub fn stored(content: &kiln_store::ContentStore, digest: &Digest) -> Self {
        let (content, digest) = (content.clone(), digest.clone());
        Self::File(Arc::new(move || {
            content.open(&digest).map_err(io::Error::other)
        }))
    }

    fn into_body(self, size: u64) -> Body {
        match self {
            Self::Bytes(bytes) => Body::Bytes(bytes),
            Self::File(open) => Body::Open(
                Arc::new(move || {
                    let file = tokio::fs::File::from_std(open()?);
                    let pieces = tokio_util::io::ReaderStream::with_capacity(file, READ_SIZE);
                    Ok(reqwest::Body::wrap_stream(pieces))
                }),
                size,
            ),
        }
    }
}

/// What pushing took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushOutcome {
    /// The bytes were sent.
    Sent,
    /// The registry had it.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
}

/// The name a manifest is pushed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushTarget {
    /// A tag, moved if it exists.
    Tag(String),
    /// Its digest alone.
    Digest,
}

impl Repository {
    /// Whether the registry has a blob.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let endpoint = self.registry()?;
        let url = endpoint.url(&format!("blobs/{digest}"), &[])?;
        let request = Request::write(self, endpoint, Method::HEAD, url);
        match self.send_ok(&request).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Pushes a blob, unless the registry has it in this repository already or can take
    /// it from `mount_from`, another repository of the same registry.
    pub async fn push_blob(
        &self,
        descriptor: &Descriptor,
        data: BlobData,
        mount_from: Option<&Reference>,
    ) -> Result<PushOutcome, RegistryError> {
        let endpoint = self.registry()?;
        let _permit = self.shared.transfer(&endpoint.host).await?;
        let body = data.into_body(descriptor.size());
        let retry = self.shared.retry;
        let mut failures = 0;
        loop {
            match self
                .push_once(endpoint, descriptor, body.clone(), mount_from)
                .await
            {
                Err(error) if error.is_temporary() && failures + 1 < retry.attempts => {
                    failures += 1;
                    tracing::debug!(%error, digest = %descriptor.digest(), "pushing again");
                    tokio::time::sleep(retry.pause(failures)).await;
                }
                other => return other,
            }
        }
    }

    /// Pushes a manifest or index. Everything it names must have been pushed before.
    pub async fn push_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Bytes,
        target: &PushTarget,
    ) -> Result<PushOutcome, RegistryError> {
        let endpoint = self.registry()?;
        let object = match target {
            PushTarget::Tag(tag) => tag.clone(),
            PushTarget::Digest => descriptor.digest().to_string(),
        };
        let url = endpoint.url(&format!("manifests/{object}"), &[])?;
        if self
            .has_manifest(endpoint, descriptor, &url, target)
            .await?
        {
            return Ok(PushOutcome::Existed);
        }
        let mut request = Request::write(self, endpoint, Method::PUT, url);
        request
            .headers
            .insert(CONTENT_TYPE, media_type_header(descriptor)?);
        request.body = Body::Bytes(bytes);
        let response = self.send_ok(&request).await.map_err(refused_push)?;
        match digest_header(&response)? {
            Some(actual) if actual != *descriptor.digest() => Err(RegistryError::DigestMismatch {
                what: format!("{}:{object}", self.name),
                host: endpoint.host.clone(),
                expected: descriptor.digest().clone(),
                actual: actual.to_string(),
            }),
            _ => Ok(PushOutcome::Sent),
        }
    }

    async fn has_manifest(
        &self,
        endpoint: &Endpoint,
        descriptor: &Descriptor,
        url: &Url,
        target: &PushTarget,
    ) -> Result<bool, RegistryError> {
        let mut request = Request::write(self, endpoint, Method::HEAD, url.clone());
        request
            .headers
            .insert(ACCEPT, media_type_header(descriptor)?);
        let response = match self.send(&request).await {
            Ok(response) => response,
            // Some tokens may write but not read; the push itself will tell.
            Err(RegistryError::Denied { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        match (response.status(), target) {
            (StatusCode::OK, PushTarget::Digest) => Ok(true),
            (StatusCode::OK, PushTarget::Tag(_)) => {
                Ok(digest_header(&response)?.as_ref() == Some(descriptor.digest()))
            }
            (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _) => Ok(false),
            _ => Err(status_error(&request.method, url, response).await),
        }
    }

    async fn push_once(
        &self,
        endpoint: &Endpoint,
        descriptor: &Descriptor,
        body: Body,
        mount_from: Option<&Reference>,
    ) -> Result<PushOutcome, RegistryError> {
        match self.has_blob(descriptor.digest()).await {
            Ok(true) => return Ok(PushOutcome::Existed),
            Ok(false) | Err(RegistryError::Denied { .. }) => {}
            Err(error) => return Err(error),
        }
        let from = mount_from
            .filter(|from| from.domain() == self.name.domain() && from.path() != self.name.path());
        let mounting = match from {
            Some(from) => {
                self.begin_mount(endpoint, descriptor.digest(), from)
                    .await?
            }
            None => None,
        };
        let begun = match mounting {
            Some(response) if response.status() == StatusCode::CREATED => {
                return Ok(PushOutcome::Mounted);
            }
            Some(response) => response,
            None => self.begin(endpoint).await?,
        };
        if begun.status() == StatusCode::CREATED {
            return Ok(PushOutcome::Existed);
        }
        let mut url = upload_location(endpoint, &begun)?;
        endpoint.append(&mut url, &[("digest", descriptor.digest().as_ref())]);
        let mut request = Request::write(self, endpoint, Method::PUT, url);
        request.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        request.body = body;
        // The upload's state at the other side is unknown after a failure: begin anew instead.
        request.persistence = Persistence::Once;
        self.send_ok(&request).await.map_err(refused_push)?;
        Ok(PushOutcome::Sent)
    }

    /// Asks for a mount. `None` if the registry will not say; then the bytes are sent.
    async fn begin_mount(
        &self,
        endpoint: &Endpoint,
        digest: &Digest,
        from: &Reference,
    ) -> Result<Option<Response>, RegistryError> {
        let query = [("mount", digest.as_ref()), ("from", from.path())];
        let url = endpoint.url("blobs/uploads/", &query)?;
        let mut request = Request::write(self, endpoint, Method::POST, url);
        request
            .scopes
            .push(format!("repository:{}:pull", from.path()));
        let response = match self.send(&request).await {
            Ok(response) => response,
            Err(RegistryError::Denied { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(response).filter(|response| response.status().is_success()))
    }

    /// Begins an upload.
    pub(crate) async fn begin(&self, endpoint: &Endpoint) -> Result<Response, RegistryError> {
        let url = endpoint.url("blobs/uploads/", &[])?;
        let request = Request::write(self, endpoint, Method::POST, url);
        self.send_ok(&request).await.map_err(refused_push)
    }
}

/// A refusal without words is still a refusal.
pub(crate) fn refused_push(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Status {
            code: 401, body, ..
        } if body.errors.is_empty() => RegistryError::Denied {
            action: Access::Push.verb(),
            reason: String::new(),
        },
        other => other,
    }
}

/// Where an upload goes on.
pub(crate) fn upload_location(
    endpoint: &Endpoint,
    response: &Response,
) -> Result<Url, RegistryError> {
    let base = response.url();
    let protocol = |reason: String| RegistryError::Protocol {
        url: base.to_string(),
        reason,
    };
    let location = response
        .headers()
        .get(reqwest::header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| protocol("no location for the upload".to_owned()))?;
    let mut url = base
        .join(location)
        .map_err(|error| protocol(format!("unable to parse location {location:?}: {error}")))?;
    // Registries behind a TLS proxy often do not know that they are.
    if base.scheme() == "https" && url.scheme() == "http" && url.host_str() == base.host_str() {
        tracing::debug!(
            host = endpoint.host,
            "the upload's location left TLS; staying with it"
        );
        let _ = url.set_scheme("https");
    }
    Ok(url)
}

fn media_type_header(descriptor: &Descriptor) -> Result<HeaderValue, RegistryError> {
    HeaderValue::from_str(descriptor.media_type().as_ref()).map_err(|_| RegistryError::Manifest {
        digest: descriptor.digest().to_string(),
        reason: format!(
            "media type {:?} is not valid",
            descriptor.media_type().as_ref()
        ),
    })
}
