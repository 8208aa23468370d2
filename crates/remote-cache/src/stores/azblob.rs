//! Containers of Azure's Blob Storage.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::azure::{AzureAuthorizer, AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::{Method, Url};

use super::bucket::{Bucket, Habits, retry};
use super::error::{describe, told};
use super::s3::{Connector, http};
use super::web::causes;
use super::{Door, StoreError};
use crate::options::AzblobOptions;

/// The protocol's version.
const VERSION: &str = "2023-11-03";

pub(super) fn open(options: &AzblobOptions, door: Door<'_>) -> Result<Bucket, StoreError> {
    let http = http(&door, Some(&options.account_url), options.key.is_some())?;
    let account_url = options.account_url.as_str().trim_end_matches('/');
    let builder = MicrosoftAzureBuilder::new()
        .with_account(&options.account_name)
        .with_container_name(&options.container)
        .with_endpoint(account_url.to_owned())
        .with_allow_http(true)
        .with_retry(retry(None))
        .with_http_connector(Connector(http.clone()));
    let builder = match &options.key {
        Some(key) => builder.with_access_key(key.reveal()),
        None => with_environment(builder, &door),
    };
    let azure = builder
        .build()
        .map_err(|error| door.setup(describe(&error)))?;
    let container = format!("{account_url}/{}?restype=container", options.container);
    let container = Url::parse(&container).map_err(|error| door.setup(error.to_string()))?;
    Ok(Bucket {
        objects: Arc::new(azure.clone()),
        layout: options.layout.clone(),
        title: door.title.clone(),
        parallelism: options.upload_parallelism,
        habits: Box::new(Container {
            azure,
            http,
            url: container,
            account: options.account_name.clone(),
            title: door.title,
        }),
    })
}

/// A workload identity, a service principal, or the machine's own identity.
fn with_environment(builder: MicrosoftAzureBuilder, door: &Door<'_>) -> MicrosoftAzureBuilder {
    let known = [
        ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
        ("AZURE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
        ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
        ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost),
        (
            "AZURE_FEDERATED_TOKEN_FILE",
            AzureConfigKey::FederatedTokenFile,
        ),
        ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
    ];
    known.into_iter().fold(builder, |builder, (name, key)| {
        match door.environment.get(name) {
            Some(value) => builder.with_config(key, value),
            None => builder,
        }
    })
}

/// A container that is made when a cache is exported for the first time.
struct Container {
    azure: MicrosoftAzure,
    http: reqwest::Client,
    url: Url,
    account: String,
    title: String,
}

impl Container {
    /// Asks for the container, or for making it: the status, and what the server says.
    async fn ask(&self, method: Method) -> Result<(u16, String), String> {
        let credential = self.azure.credentials().get_credential().await;
        let credential = credential.map_err(|error| describe(&error))?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = self.url.as_str().parse().map_err(|_| "no URL".to_owned())?;
        let headers = request.headers_mut();
        headers.insert("x-ms-version", VERSION.parse().map_err(|_| "no version")?);
        headers.insert("content-length", 0.into());
        AzureAuthorizer::new(&credential, &self.account)
            .try_authorize(&mut request)
            .map_err(|error| describe(&error))?;
        let (parts, _) = request.into_parts();
        let request = self.http.request(parts.method, self.url.clone());
        let answer = request.headers(parts.headers).send().await;
        let answer = answer.map_err(|error| causes(&error.without_url()))?;
        let status = answer.status().as_u16();
        let body = answer.text().await.unwrap_or_default();
        Ok((status, told(&body).unwrap_or_default()))
    }
}

#[async_trait]
impl Habits for Container {
    async fn prepare(&self) -> Result<(), StoreError> {
        let failed = |reason: String| StoreError::Failed {
            action: "make".to_owned(),
            title: self.title.clone(),
            reason,
        };
        // Whoever may only write blobs may not ask for the container: then the blobs will tell.
        let (found, _) = self.ask(Method::GET).await.map_err(failed)?;
        if found != 404 {
            return Ok(());
        }
        match self.ask(Method::PUT).await.map_err(failed)? {
            (201 | 409, _) => Ok(()),
            (status, told) => Err(failed(format!("{status} {told}"))),
        }
    }
}
