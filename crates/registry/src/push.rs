//! Pushing blobs and manifests.

use bytes::Bytes;
use oci_spec::image::{Descriptor, Digest};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};

use crate::client::{Access, Repository};
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::reference::Reference;
use crate::resolve::digest_header;
use crate::send::{Body, Persistence, Request, status_error};
use crate::sending::Sending;
use crate::source::BlobSource;

/// So many repositories are asked for a mount; each costs a round trip.
const MAX_MOUNTS: usize = 3;

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
        Ok(self.find_blob(digest).await?.is_some())
    }

    /// Looks for a blob; what is found may tell its size.
    async fn find_blob(&self, digest: &Digest) -> Result<Option<Found>, RegistryError> {
        let endpoint = self.registry()?;
        let _permit = self.shared.question(&endpoint.host).await?;
        let url = endpoint.url(&format!("blobs/{digest}"), &[])?;
        let request = Request::write(self, endpoint, Method::HEAD, url);
        match self.send_ok(&request).await {
            Ok(response) => Ok(Some(Found::of(&response))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a blob need not be pushed. One of another size is as good as none.
    pub(crate) async fn is_pushed(&self, descriptor: &Descriptor) -> Result<bool, RegistryError> {
        match self.find_blob(descriptor.digest()).await {
            Ok(found) => Ok(found.is_some_and(|found| {
                found
                    .size
                    .is_none_or(|size| size == 0 || size == descriptor.size())
            })),
            // Some tokens may write but not read; the push itself will tell.
            Err(RegistryError::Denied { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Pushes a blob, unless the registry has it in this repository already or can take
    /// it from another of its repositories.
    pub async fn push_blob(
        &self,
        descriptor: &Descriptor,
        source: impl Into<BlobSource>,
    ) -> Result<PushOutcome, RegistryError> {
        let source = source.into();
        let endpoint = self.registry()?;
        if self.is_pushed(descriptor).await? {
            source.report(descriptor.size());
            return Ok(PushOutcome::Existed);
        }
        let mut begun = None;
        let candidates = source
            .mounts
            .iter()
            .filter(|from| from.domain() == self.name.domain() && from.path() != self.name.path());
        for from in candidates.take(MAX_MOUNTS) {
            let _permit = self.shared.question(&endpoint.host).await?;
            match self
                .begin_mount(endpoint, descriptor.digest(), from)
                .await?
            {
                Some(response) if response.status() == StatusCode::CREATED => {
                    source.report(descriptor.size());
                    return Ok(PushOutcome::Mounted);
                }
                // A registry that cannot mount begins an upload instead.
                Some(response) => begun = upload_location(endpoint, &response).ok(),
                None => {}
            }
        }
        let _permit = self.shared.transfer(&endpoint.host).await?;
        let sending = Sending {
            repository: self,
            endpoint,
            descriptor,
            source: &source,
        };
        sending.run(begun).await
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
        let actual = match digest_header(&response)? {
            Some(actual) if actual != *descriptor.digest() => actual,
            _ => return Ok(PushOutcome::Sent),
        };
        // Said wrong or stored wrong: what it has now decides.
        if self
            .has_manifest(endpoint, descriptor, &request.url, target)
            .await?
        {
            return Ok(PushOutcome::Sent);
        }
        Err(RegistryError::DigestMismatch {
            what: format!("{}:{object}", self.name),
            host: endpoint.host.clone(),
            expected: descriptor.digest().clone(),
            actual: actual.to_string(),
        })
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
    pub(crate) async fn begin(
        &self,
        endpoint: &Endpoint,
        persistence: Persistence,
    ) -> Result<Response, RegistryError> {
        let url = endpoint.url("blobs/uploads/", &[])?;
        let request = Request {
            persistence,
            ..Request::write(self, endpoint, Method::POST, url)
        };
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

/// What is known of a blob without reading it.
struct Found {
    size: Option<u64>,
}

impl Found {
    fn of(response: &Response) -> Self {
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok());
        Self {
            size: length.and_then(|text| text.parse().ok()),
        }
    }
}
