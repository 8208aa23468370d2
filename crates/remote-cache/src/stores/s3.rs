//! Buckets of Amazon S3 and of servers that speak like it.

use std::time::Duration;

use async_trait::async_trait;
use kiln_registry::WebCertificates;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::signer::{HeaderName, HeaderValue, Method, SignedUrlOptions, Signer as _};
use reqwest::Url;

use super::bucket::{Bucket, Habits, retry};
use super::error::{describe, told, without_queries};
use super::{Door, StoreError, aws_profile};
use crate::options::S3Options;

/// Servers that say nothing for so long are given up.
const SILENCE: Duration = Duration::from_mins(2);
/// Larger objects cannot be copied in one go.
const LARGEST_COPY: u64 = 5 << 30;
const SIGNED_FOR: Duration = Duration::from_mins(5);

pub(super) async fn open(options: &S3Options, door: Door<'_>) -> Result<Bucket, StoreError> {
    let http = http(&door, options.endpoint.as_ref(), options.login.is_some())?;
    let builder = AmazonS3Builder::new()
        .with_bucket_name(&options.bucket)
        .with_region(&options.region)
        .with_virtual_hosted_style_request(true)
        .with_retry(retry(options.attempts))
        .with_http_connector(Connector(http.clone()));
    let builder = match &options.endpoint {
        None => builder,
        Some(endpoint) => at(builder, options, endpoint, &door)?,
    };
    let builder = with_credentials(builder, options, &door).await?;
    let s3 = builder
        .build()
        .map_err(|error| door.setup(describe(&error)))?;
    Ok(Bucket {
        objects: std::sync::Arc::new(s3.clone()),
        layout: options.layout.clone(),
        title: door.title.clone(),
        parallelism: options.upload_parallelism,
        habits: Box::new(Touching {
            s3,
            http,
            title: door.title,
            bucket: options.bucket.clone(),
            after: options.touch_refresh,
        }),
    })
}

/// A client for one bucket; certificates are only read if they may be needed.
pub(super) fn http(
    door: &Door<'_>,
    endpoint: Option<&Url>,
    has_credentials: bool,
) -> Result<reqwest::Client, StoreError> {
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.scheme() == "http");
    let certificates = match is_plain && has_credentials {
        true => WebCertificates::Unused,
        false => WebCertificates::Verified,
    };
    let client = door
        .client
        .web_without_redirects(certificates, Some(SILENCE));
    Ok(client.map_err(Box::new)?)
}

/// Hands our HTTP client to the object stores' library: one way to names, proxies and certificates for all.
#[derive(Clone, Debug)]
pub(super) struct Connector(pub(super) reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// At an endpoint of the user's the bucket is a part of the host's name, unless `use_path_style` says otherwise.
fn at(
    builder: AmazonS3Builder,
    options: &S3Options,
    endpoint: &Url,
    door: &Door<'_>,
) -> Result<AmazonS3Builder, StoreError> {
    let mut endpoint = endpoint.clone();
    if !options.use_path_style {
        let host = endpoint.host_str().unwrap_or_default();
        let host = format!("{}.{host}", options.bucket);
        if endpoint.host().is_some_and(is_address) || endpoint.set_host(Some(&host)).is_err() {
            return Err(door.setup(format!(
                "the bucket cannot be put in front of {:?}: set use_path_style=true",
                endpoint.host_str().unwrap_or_default()
            )));
        }
    }
    let endpoint = endpoint.as_str().trim_end_matches('/').to_owned();
    Ok(builder
        .with_virtual_hosted_style_request(!options.use_path_style)
        .with_allow_http(true)
        .with_endpoint(endpoint))
}

fn is_address<S>(host: url::Host<S>) -> bool {
    !matches!(host, url::Host::Domain(_))
}

/// Keys of the cache, then the environment's, a profile's, a web identity's, a container's, and the machine's own.
async fn with_credentials(
    builder: AmazonS3Builder,
    options: &S3Options,
    door: &Door<'_>,
) -> Result<AmazonS3Builder, StoreError> {
    use object_store::aws::AmazonS3ConfigKey as Key;
    if let Some(login) = &options.login {
        let builder = builder
            .with_access_key_id(login.key_id.reveal())
            .with_secret_access_key(login.key.reveal());
        return Ok(match &login.token {
            Some(token) => builder.with_token(token.reveal()),
            None => builder,
        });
    }
    if let Some(found) = aws_profile::find(door).await? {
        let builder = builder
            .with_access_key_id(found.key_id.reveal())
            .with_secret_access_key(found.key.reveal());
        return Ok(match &found.token {
            Some(token) => builder.with_token(token.reveal()),
            None => builder,
        });
    }
    let elsewhere = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", Key::RoleArn),
        ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
        ("AWS_ENDPOINT_URL_STS", Key::StsEndpoint),
        (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            Key::ContainerCredentialsRelativeUri,
        ),
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            Key::ContainerCredentialsFullUri,
        ),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            Key::ContainerAuthorizationTokenFile,
        ),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", Key::MetadataEndpoint),
    ];
    let mut builder = builder;
    let mut found = Vec::new();
    for (name, key) in elsewhere {
        if let Some(value) = door.environment.get(name) {
            builder = builder.with_config(key, value);
            found.push(name);
        }
    }
    let has_source = found
        .iter()
        .any(|name| name.contains("TOKEN_FILE") || name.contains("_URI"));
    let is_disabled = door
        .environment
        .get("AWS_EC2_METADATA_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_disabled && !has_source {
        return Err(door.setup(
            "no credentials: set access_key_id and secret_access_key, or the daemon's \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    Ok(builder)
}

/// Rules that remove objects by their age look at when they were last written: a copy onto itself counts.
struct Touching {
    s3: AmazonS3,
    http: reqwest::Client,
    title: String,
    bucket: String,
    after: Duration,
}

impl Touching {
    async fn copy(&self, key: &Path) -> Result<(), String> {
        let source = format!("/{}/{}", self.bucket, encoded(key.as_ref()));
        let now = jiff::Timestamp::now().to_string();
        let headers = [
            ("x-amz-copy-source", source.as_str()),
            ("x-amz-metadata-directive", "REPLACE"),
            ("x-amz-meta-updated-at", now.as_str()),
        ];
        let mut options = SignedUrlOptions::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            options = options.with_signed_header(HeaderName::from_static(name), value);
        }
        let url = self
            .s3
            .signed_url_opts(Method::PUT, key, SIGNED_FOR, &options)
            .await
            .map_err(|error| describe(&error))?;
        let request = self.http.put(url).headers(options.signed_headers);
        let answer = request
            .send()
            .await
            .map_err(|error| without_queries(&error.without_url().to_string()))?;
        let status = answer.status();
        let body = answer.text().await.unwrap_or_default();
        // Copies that fail on their way say so in an answer that began well.
        match status.is_success() && !body.contains("<Error>") {
            true => Ok(()),
            false => Err(format!("{status}: {}", told(&body).unwrap_or_default())),
        }
    }
}

#[async_trait]
impl Habits for Touching {
    fn touch_after(&self) -> Option<Duration> {
        Some(self.after)
    }

    async fn touch(&self, key: &Path, size: u64) -> Result<bool, StoreError> {
        if size >= LARGEST_COPY {
            return Ok(false);
        }
        // A store that cannot copy gets the blob once more.
        match self.copy(key).await {
            Ok(()) => Ok(true),
            Err(reason) => {
                tracing::debug!(store = self.title, %key, reason, "cannot touch an object");
                Ok(false)
            }
        }
    }
}

/// A key as it stands in a header.
fn encoded(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match plain(byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
