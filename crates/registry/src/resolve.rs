//! From a name to a descriptor, and from a descriptor to a manifest.

use bytes::Bytes;
use oci_spec::image::{Descriptor, Digest, MediaType};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::client::Repository;
use crate::endpoint::{Endpoint, without_secrets};
use crate::error::RegistryError;
use crate::hosts::Capability;
use crate::media_type::{self, detect_manifest_media_type, is_index, is_manifest, is_schema_one};
use crate::reference::Reference;
use crate::send::{Persistence, Request, read_limited, status_error};

/// No registry accepts larger manifests.
const MAX_MANIFEST: u64 = 4 * 1048 * 1048;
const DIGEST_HEADER: &str = "docker-content-digest";

impl Repository {
    /// The descriptor a reference stands for: of its digest, or else of its tag (`latest`
    /// without one). Mirrors are asked first; the content is not fetched.
    ///
    /// The answer's digest is the registry's claim; [`Repository::manifest`] verifies it.
    pub async fn resolve(&self, reference: &Reference) -> Result<Descriptor, RegistryError> {
        let object = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_owned(),
            (None, None) => "latest".to_owned(),
        };
        let mut worst: Option<RegistryError> = None;
        let mut endpoints = self.serving(Capability::Resolve).into_iter().peekable();
        if endpoints.peek().is_none() {
            return Err(self.nowhere(Capability::Resolve));
        }
        while let Some(endpoint) = endpoints.next() {
            let persistence = Persistence::before(endpoints.peek());
            match self
                .resolve_at(endpoint, reference, &object, persistence)
                .await
            {
                Ok(descriptor) if is_schema_one(descriptor.media_type().as_ref()) => {
                    return Err(RegistryError::SchemaOne);
                }
                Ok(descriptor) => return Ok(descriptor),
                Err(error) => {
                    tracing::debug!(host = endpoint.host, %error, "cannot resolve here");
                    worst = Some(match worst {
                        Some(earlier) if weight(&earlier) >= weight(&error) => earlier,
                        _ => error,
                    });
                }
            }
        }
        Err(worst.unwrap_or_else(|| RegistryError::NotFound {
            what: reference.to_string(),
        }))
    }

    /// The manifest or index of a descriptor, verified.
    pub async fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes, RegistryError> {
        let what = format!("{}@{}", self.name, descriptor.digest());
        if descriptor.size() > MAX_MANIFEST {
            return Err(RegistryError::TooLarge {
                what,
                size: descriptor.size(),
                limit: MAX_MANIFEST,
            });
        }
        let mut first: Option<RegistryError> = None;
        let mut endpoints = self.serving(Capability::Pull).into_iter().peekable();
        if endpoints.peek().is_none() {
            return Err(self.nowhere(Capability::Pull));
        }
        while let Some(endpoint) = endpoints.next() {
            let persistence = Persistence::before(endpoints.peek());
            match self
                .manifest_insisting(endpoint, descriptor, &what, persistence)
                .await
            {
                Ok(bytes) => return Ok(bytes),
                Err(error) => {
                    tracing::debug!(host = endpoint.host, %error, "cannot get the manifest here");
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or(RegistryError::NotFound { what }))
    }

    async fn resolve_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        object: &str,
        persistence: Persistence,
    ) -> Result<Descriptor, RegistryError> {
        let mut request = Request {
            method: Method::HEAD,
            headers: accept(media_type::ACCEPT),
            persistence,
            ..Request::get(
                self,
                endpoint,
                endpoint.url(&format!("manifests/{object}"), &[])?,
            )
        };
        let response = self.send(&request).await?;
        let response = match response.status() {
            StatusCode::NOT_FOUND => return Err(not_found(reference)),
            status if status.is_success() => match describe(&response, reference)? {
                Some(descriptor) => return check_size(descriptor, reference),
                None => None,
            },
            // Some registries have no HEAD; others explain themselves only to a GET.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::FORBIDDEN => Some(response),
            _ => return Err(status_error(&request.method, &request.url, response).await),
        };
        request.method = Method::GET;
        let by_get = self.send(&request).await?;
        if !by_get.status().is_success() {
            let (method, response) = match response {
                Some(head) if by_get.status() != head.status() => (Method::HEAD, head),
                _ => (Method::GET, by_get),
            };
            return Err(match response.status() {
                StatusCode::NOT_FOUND => not_found(reference),
                _ => status_error(&method, &request.url, response).await,
            });
        }
        let named = content_type(&by_get);
        let body = read_limited(
            by_get,
            MAX_MANIFEST as usize,
            &reference.to_string(),
            self.shared.timeouts.idle,
        )
        .await?;
        describe_body(&body, named, reference)
    }

    /// Asks again where the body broke off, or was another: once may be an accident on the way.
    async fn manifest_insisting(
        &self,
        endpoint: &Endpoint,
        descriptor: &Descriptor,
        what: &str,
        persistence: Persistence,
    ) -> Result<Bytes, RegistryError> {
        let retry = self.shared.retry;
        let (mut failures, mut lied) = (0, false);
        loop {
            let outcome = self
                .manifest_at(endpoint, descriptor, what, persistence)
                .await;
            let error = match outcome {
                Err(error) => error,
                done => return done,
            };
            failures += 1;
            let is_first_lie = error.is_wrong_content() && !lied;
            lied |= is_first_lie;
            let is_broken = persistence == Persistence::Repeat
                && matches!(error, RegistryError::Transport { .. })
                && error.is_temporary();
            match retry.again(failures, None) {
                Some(pause) if is_broken || is_first_lie => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    async fn manifest_at(
        &self,
        endpoint: &Endpoint,
        descriptor: &Descriptor,
        what: &str,
        persistence: Persistence,
    ) -> Result<Bytes, RegistryError> {
        let media_type = descriptor.media_type().as_ref();
        // Only manifests are manifests to a registry; a foreign document is a blob.
        let kind = if is_manifest(media_type) || is_index(media_type) {
            "manifests"
        } else {
            "blobs"
        };
        let url = endpoint.url(&format!("{kind}/{}", descriptor.digest()), &[])?;
        let request = Request {
            headers: accept(&format!("{media_type}, */*")),
            persistence,
            ..Request::get(self, endpoint, url)
        };
        let response = self.send_ok(&request).await?;
        let limit = if descriptor.size() > 0 {
            descriptor.size()
        } else {
            MAX_MANIFEST
        };
        let body = read_limited(response, limit as usize, what, self.shared.timeouts.idle).await?;
        verify(&body, descriptor.digest()).map_err(|actual| RegistryError::DigestMismatch {
            what: what.to_owned(),
            host: endpoint.host.clone(),
            expected: descriptor.digest().clone(),
            actual,
        })?;
        Ok(body)
    }
}

/// Which of several failures says most: an answer says more than silence, and a refusal
/// more than a mirror that does not have it.
fn weight(error: &RegistryError) -> u8 {
    match error {
        RegistryError::Transport { .. }
        | RegistryError::Certificate { .. }
        | RegistryError::Setup(_) => 1,
        RegistryError::NotFound { .. } => 2,
        _ => 3,
    }
}

fn not_found(reference: &Reference) -> RegistryError {
    RegistryError::NotFound {
        what: reference.to_string(),
    }
}

fn accept(types: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(types) {
        headers.insert(ACCEPT, value);
    }
    headers
}

/// The descriptor by an answer's headers, if they say enough.
fn describe(
    response: &Response,
    reference: &Reference,
) -> Result<Option<Descriptor>, RegistryError> {
    let length = response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let size: Option<u64> = length.and_then(|text| text.parse().ok());
    let digest = match reference.digest() {
        Some(digest) => Some(digest.clone()),
        None => digest_header(response)?,
    };
    let (Some(media_type), Some(size), Some(digest)) = (content_type(response), size, digest)
    else {
        return Ok(None);
    };
    if !(is_manifest(&media_type) || is_index(&media_type) || is_schema_one(&media_type)) {
        return Ok(None);
    }
    Ok(Some(Descriptor::new(
        MediaType::from(media_type.as_str()),
        size,
        digest,
    )))
}

/// The descriptor by the content itself.
fn describe_body(
    body: &Bytes,
    named: Option<String>,
    reference: &Reference,
) -> Result<Descriptor, RegistryError> {
    let computed = sha256(body);
    let digest = match reference.digest() {
        Some(digest) => digest.clone(),
        None => computed.parse().map_err(|_| not_found(reference))?,
    };
    let named = named.filter(|named| is_manifest(named) || is_index(named) || is_schema_one(named));
    let media_type = match named {
        Some(named) => named,
        None => {
            detect_manifest_media_type(body)
                .map_err(|reason| RegistryError::Manifest {
                    digest: digest.to_string(),
                    reason,
                })?
                .1
        }
    };
    Ok(Descriptor::new(
        MediaType::from(media_type.as_str()),
        body.len() as u64,
        digest,
    ))
}

/// The digest a registry claims for what it sends or has received.
pub(crate) fn digest_header(response: &Response) -> Result<Option<Digest>, RegistryError> {
    let Some(value) = response.headers().get(DIGEST_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let digest = text.parse().map_err(|_| RegistryError::Protocol {
        url: without_secrets(response.url()),
        reason: format!("{text:?} in header not a valid digest"),
    })?;
    Ok(Some(digest))
}

fn check_size(descriptor: Descriptor, reference: &Reference) -> Result<Descriptor, RegistryError> {
    match descriptor.size() {
        size if size > MAX_MANIFEST => Err(RegistryError::TooLarge {
            what: reference.to_string(),
            size,
            limit: MAX_MANIFEST,
        }),
        _ => Ok(descriptor),
    }
}

fn content_type(response: &Response) -> Option<String> {
    let text = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    text.split(';')
        .next()
        .map(|media_type| media_type.trim().to_owned())
}

fn sha256(body: &[u8]) -> String {
    format!("sha256:{}", encode(&Sha256::digest(body)))
}

/// `Err` has the digest the content really has.
fn verify(body: &[u8], expected: &Digest) -> Result<(), String> {
    let actual = match expected.algorithm().as_ref() {
        "sha384" => format!("sha384:{}", encode(&Sha384::digest(body))),
        "sha512" => format!("sha512:{}", encode(&Sha512::digest(body))),
        _ => sha256(body),
    };
    if actual == expected.as_ref() {
        Ok(())
    } else {
        Err(actual)
    }
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
            }
            text
        })
}
