//! A web server that keeps what is put there: blobs in `cas/`, configs in `ac/`, as Bazel's remote caches have it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kiln_registry::WebCertificates;
use kiln_store::refs::FetchStream;
use oci_spec::image::Descriptor;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::blob::{BlobSource, OpenBlob};
use super::download::resumable;
use super::web::{Body, Request, Web};
use super::{CacheStore, Door, StoreError, Task};
use crate::options::{HttpLogin, HttpOptions};

/// Questions at the same time.
const QUESTIONS: usize = 16;
const PATIENCE: Duration = Duration::from_mins(3);

pub(super) struct WebServer {
    web: Web,
    url: Url,
    headers: HeaderMap,
    names: Vec<String>,
    parallelism: usize,
}

pub(super) fn open(options: &HttpOptions, door: Door<'_>) -> Result<WebServer, StoreError> {
    let certificates = match options.url.scheme() {
        "http" => WebCertificates::Unused,
        _ => WebCertificates::Verified,
    };
    let http = door
        .client
        .web_without_redirects(certificates, None)
        .map_err(Box::new)?;
    let mut headers = options.headers.clone();
    let login = match &options.login {
        HttpLogin::Anonymous => None,
        HttpLogin::Token(token) => Some(format!("Bearer {}", token.reveal())),
        HttpLogin::Basic { username, password } => {
            let pair = format!("{}:{}", username.reveal(), password.reveal());
            Some(format!("Basic {}", BASE64.encode(pair)))
        }
    };
    if let Some(login) = login {
        let login = HeaderValue::from_str(&login);
        let mut login = login.map_err(|error| door.setup(error.to_string()))?;
        login.set_sensitive(true);
        headers.insert(AUTHORIZATION, login);
    }
    Ok(WebServer {
        web: Web {
            http,
            title: door.title,
            patience: PATIENCE,
        },
        url: options.url.clone(),
        headers,
        names: options.names.clone(),
        parallelism: options.upload_parallelism,
    })
}

impl WebServer {
    fn request(&self, method: Method, path: &str) -> Result<Request, StoreError> {
        let url = self.url.join(path);
        let url = url.map_err(|error| {
            self.web
                .failed(format!("find {path} at"), error.to_string())
        });
        Ok(Request {
            headers: self.headers.clone(),
            ..Request::new(method, url?)
        })
    }

    async fn put(&self, path: &str, body: Body) -> Result<(), StoreError> {
        let action = format!("write {path} to");
        let request = Request {
            body,
            ..self.request(Method::PUT, path)?
        };
        let answer = self.web.send(&action, &request).await?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(self.web.refused(&action, answer).await),
        }
    }

    async fn task(&self, blob: &Descriptor) -> Result<Option<Task>, StoreError> {
        let path = blob_path(blob);
        let action = format!("look for {path} at");
        let request = self.request(Method::HEAD, &path)?;
        let answer = self.web.send(&action, &request).await?;
        let size = answer.headers().get(CONTENT_LENGTH);
        let size = size.and_then(|size| size.to_str().ok()?.parse::<u64>().ok());
        match answer.status() {
            status if status.is_success() => {
                let is_whole = size.is_none_or(|size| size == blob.size());
                Ok((!is_whole).then(|| Task::Send(blob.clone())))
            }
            // Not there, or a server that knows no such question.
            StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => Ok(Some(Task::Send(blob.clone()))),
            _ => Err(self.web.refused(&action, answer).await),
        }
    }
}

fn blob_path(blob: &Descriptor) -> String {
    format!("cas/{}", blob.digest().digest())
}

/// The names of actions are digests.
fn config_path(name: &str) -> String {
    format!("ac/{}", hex::encode(Sha256::digest(name)))
}

#[async_trait]
impl CacheStore for WebServer {
    fn readable(&self) -> Vec<String> {
        self.names.clone()
    }

    fn writable(&self) -> Vec<String> {
        self.names.clone()
    }

    fn parallelism(&self) -> usize {
        self.parallelism
    }

    async fn read(&self, name: &str, limit: u64) -> Result<Option<Bytes>, StoreError> {
        let path = config_path(name);
        let action = format!("read {path} from");
        let request = self.request(Method::GET, &path)?;
        let answer = self.web.ask(&action, &request, limit).await?;
        match answer.status {
            status if status.is_success() => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(self.web.refusal(&action, status, &answer.body)),
        }
    }

    async fn write(&self, name: &str, config: Bytes) -> Result<(), StoreError> {
        self.put(&config_path(name), Body::Bytes(config)).await
    }

    async fn plan(&self, blobs: &[Descriptor]) -> Result<Vec<Task>, StoreError> {
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
        let file = OpenBlob::new(blob, source).await?;
        let body = Body::Part(file, 0, blob.size());
        self.put(&blob_path(blob), body).await
    }

    async fn open(&self, blob: &Descriptor) -> Result<FetchStream, StoreError> {
        let path = blob_path(blob);
        let request = self.request(Method::GET, &path)?;
        let web = self.web.clone();
        let action: Arc<str> = format!("read {path} from").into();
        let opening = move |offset: u64| {
            let (web, mut request, action) = (web.clone(), request.clone(), action.clone());
            async move {
                if offset > 0 {
                    request.headers.insert(
                        RANGE,
                        HeaderValue::from_str(&format!("bytes={offset}-"))
                            .map_err(|error| web.failed(&*action, error.to_string()))?,
                    );
                }
                let answer = web.send(&action, &request).await?;
                match answer.status() {
                    status if status.is_success() => Ok(answer),
                    StatusCode::NOT_FOUND => Err(web.failed(&*action, "it is not there")),
                    _ => Err(web.refused(&action, answer).await),
                }
            }
            .boxed()
        };
        resumable(Arc::new(opening), blob.size()).await
    }
}
