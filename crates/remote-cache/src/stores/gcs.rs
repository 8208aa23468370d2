//! Buckets of Google Cloud Storage.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{ClientOptions, StaticCredentialProvider};
use reqwest::header::AUTHORIZATION;

use super::bucket::{Bucket, Plain, retry};
use super::error::describe;
use super::s3::{Connector, http};
use super::{Door, StoreError};
use crate::options::GcsOptions;

pub(super) async fn open(options: &GcsOptions, door: Door<'_>) -> Result<Bucket, StoreError> {
    let credentials = door.environment.path("GOOGLE_APPLICATION_CREDENTIALS");
    let credentials = credentials.filter(|_| !options.anonymous);
    let http = http(&door, options.endpoint.as_ref(), credentials.is_none())?;
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&options.bucket)
        .with_retry(retry(None))
        .with_http_connector(Connector(http.clone()));
    let builder = match &options.endpoint {
        None => builder,
        Some(endpoint) => builder.with_base_url(endpoint.as_str().trim_end_matches('/')),
    };
    let builder = match credentials {
        Some(path) => builder.with_application_credentials(path.to_string_lossy()),
        // Given explicitly: the library would look for some by itself.
        None => builder
            .with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential {
                bearer: String::new(),
            })))
            .with_skip_signature(true)
            .with_http_connector(Anonymous(http)),
    };
    // The library reads the file of credentials.
    let built = tokio::task::spawn_blocking(move || builder.build()).await;
    let built = built.map_err(|_| StoreError::Ended)?;
    let objects = built.map_err(|error| door.setup(describe(&error)))?;
    Ok(Bucket {
        objects: Arc::new(objects),
        layout: options.layout.clone(),
        title: door.title,
        parallelism: options.upload_parallelism,
        habits: Box::new(Plain),
    })
}

/// Sends requests without the empty token that the library shows with some of them.
#[derive(Debug, Clone)]
struct Anonymous(reqwest::Client);

impl HttpConnector for Anonymous {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Anonymous {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        request.headers_mut().remove(AUTHORIZATION);
        self.0.call(request).await
    }
}
