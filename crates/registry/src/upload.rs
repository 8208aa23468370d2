//! Uploading a blob while it is made, before its digest is known.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use oci_spec::image::Digest;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use tokio::sync::OwnedSemaphorePermit;

use crate::client::Repository;
use crate::error::RegistryError;
use crate::push::{refused_push, upload_location};
use crate::send::{Body, Persistence, Request};

/// A begun upload. Nothing exists at the registry until [`Upload::finish`]. One that is given up should be cancelled, else
/// the registry keeps what it has of it for some time.
///
/// Nothing is tried again: what could not be uploaded while it was made is pushed when it is complete.
pub struct Upload {
    repository: Repository,
    location: Url,
    _permit: OwnedSemaphorePermit,
}

impl Repository {
    /// Begins the upload of a blob whose digest is not known yet.
    pub async fn start_upload(&self) -> Result<Upload, RegistryError> {
        let endpoint = self.registry()?;
        let permit = self.shared.transfer(&endpoint.host).await?;
        let begun = self.begin(endpoint, Persistence::Once).await?;
        let location = upload_location(endpoint, &begun)?;
        Ok(Upload {
            repository: self.clone(),
            location,
            _permit: permit,
        })
    }
}

impl Upload {
    /// Sends the whole blob in one request, as it comes. It is asked for anew where the registry sends the request
    /// elsewhere. It may come slowly, but must not stand still for longer than [`Timeouts::idle`].
    ///
    /// [`Timeouts::idle`]: crate::Timeouts::idle
    pub async fn send<S>(
        &mut self,
        blob: impl Fn() -> S + Send + Sync + 'static,
    ) -> Result<(), RegistryError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let mut request = self.request(Method::PATCH, self.location.clone())?;
        let bytes = HeaderValue::from_static("application/octet-stream");
        request.headers.insert(CONTENT_TYPE, bytes);
        request.body = Body::Growing(Arc::new(move || blob().boxed()));
        let response = self.repository.send_ok(&request).await;
        let response = response.map_err(refused_push)?;
        self.location = upload_location(request.endpoint, &response)?;
        Ok(())
    }

    /// Makes the blob exist under its digest, which the registry verifies.
    pub async fn finish(&self, digest: &Digest) -> Result<(), RegistryError> {
        let mut request = self.request(Method::PUT, self.location.clone())?;
        let query = [("digest", digest.as_ref())];
        request.endpoint.append(&mut request.url, &query);
        request.body = Body::Bytes(Bytes::new());
        let response = self.repository.send_ok(&request).await;
        response.map(drop).map_err(refused_push)
    }

    /// Gives the upload up: the registry need not keep what it has of it.
    pub async fn cancel(self) -> Result<(), RegistryError> {
        let request = self.request(Method::DELETE, self.location.clone())?;
        self.repository.send_ok(&request).await.map(drop)
    }

    fn request(&self, method: Method, url: Url) -> Result<Request<'_>, RegistryError> {
        let endpoint = self.repository.registry()?;
        Ok(Request {
            persistence: Persistence::Once,
            ..Request::write(&self.repository, endpoint, method, url)
        })
    }
}
