//! Uploading a blob piece by piece, before its digest is known.

use bytes::Bytes;
use oci_spec::image::Digest;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use tokio::sync::OwnedSemaphorePermit;

use crate::client::Repository;
use crate::error::RegistryError;
use crate::push::{refused_push, upload_location};
use crate::send::{Body, Persistence, Request};

/// A begun upload. Each piece is one request, so pieces should be some megabytes.
/// Nothing exists at the registry until [`Upload::finish`]; an upload that is dropped
/// is forgotten there in time.
pub struct Upload {
    repository: Repository,
    location: Url,
    sent: u64,
    _permit: OwnedSemaphorePermit,
}

impl Repository {
    /// Begins the upload of a blob whose digest is not known yet.
    pub async fn start_upload(&self) -> Result<Upload, RegistryError> {
        let endpoint = self.registry()?;
        let permit = self.shared.transfer(&endpoint.host).await?;
        let begun = self.begin(endpoint).await?;
        let location = upload_location(endpoint, &begun)?;
        Ok(Upload {
            repository: self.clone(),
            location,
            sent: 0,
            _permit: permit,
        })
    }
}

impl Upload {
    /// Sends the next piece. After an error the upload cannot go on.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), RegistryError> {
        if piece.is_empty() {
            return Ok(());
        }
        let end = self.sent + piece.len() as u64;
        let endpoint = self.repository.registry()?;
        let mut request = Request::write(
            &self.repository,
            endpoint,
            Method::PATCH,
            self.location.clone(),
        );
        request.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        if let Ok(range) = HeaderValue::from_str(&format!("{}-{}", self.sent, end - 1)) {
            request.headers.insert(CONTENT_RANGE, range);
        }
        request.body = Body::Bytes(piece);
        request.persistence = Persistence::Once;
        let response = self
            .repository
            .send_ok(&request)
            .await
            .map_err(refused_push)?;
        self.location = upload_location(endpoint, &response)?;
        self.sent = end;
        Ok(())
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Makes the blob exist under its digest, which the registry verifies.
    pub async fn finish(self, digest: &Digest) -> Result<(), RegistryError> {
        let endpoint = self.repository.registry()?;
        let mut url = self.location.clone();
        endpoint.append(&mut url, &[("digest", digest.as_ref())]);
        let mut request = Request::write(&self.repository, endpoint, Method::PUT, url);
        request.body = Body::Bytes(Bytes::new());
        request.persistence = Persistence::Once;
        self.repository
            .send_ok(&request)
            .await
            .map_err(refused_push)?;
        Ok(())
    }
}
