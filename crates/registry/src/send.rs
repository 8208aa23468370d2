//! One request to a registry: authorized, redirected and repeated as needed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};

use crate::auth::{AuthSession, Next, Shown};
use crate::client::{Access, Repository};
use crate::endpoint::{Endpoint, Scheme, is_same_place, without_secrets};
use crate::error::{ErrorBody, RegistryError, TransportError, is_temporary_status};
use crate::growing::{Growing, watched, while_moving};
use crate::tls::TlsSettings;

const MAX_REDIRECTS: usize = 10;
/// Answers to challenges within one request: the first, and one for a token gone stale.
const MAX_CHALLENGES: usize = 3;
const MAX_ERROR_BODY: usize = 64_000;
/// An upload slower than this is taken to hang.
const SLOWEST_UPLOAD: u64 = 16 << 10;

/// What to send.
pub(crate) struct Request<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) scopes: Vec<String>,
    pub(crate) access: Access,
    pub(crate) persistence: Persistence,
}

/// A body that can be sent again.
#[derive(Clone)]
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    /// Opened for each attempt; with its length.
    Open(
        Arc<dyn Fn() -> io::Result<reqwest::Body> + Send + Sync>,
        u64,
    ),
    /// Opened likewise; it comes while it is made, and nobody knows how long it will be.
    Growing(Arc<dyn Fn() -> Growing + Send + Sync>),
}

/// Whether to insist: a mirror that fails has others behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persistence {
    Once,
    Repeat,
}

impl Persistence {
    /// For an endpoint that has this one behind it.
    pub(crate) fn before<T>(next: Option<&T>) -> Self {
        match next {
            Some(_) => Self::Once,
            None => Self::Repeat,
        }
    }
}

impl<'a> Request<'a> {
    pub(crate) fn get(repository: &Repository, endpoint: &'a Endpoint, url: Url) -> Self {
        Self {
            endpoint,
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Body::Empty,
            scopes: vec![repository.scope(Access::Pull)],
            access: Access::Pull,
            persistence: Persistence::Repeat,
        }
    }

    /// A request that needs to be allowed to write.
    pub(crate) fn write(
        repository: &Repository,
        endpoint: &'a Endpoint,
        method: Method,
        url: Url,
    ) -> Self {
        Self {
            method,
            scopes: vec![repository.scope(Access::Push)],
            access: Access::Push,
            ..Self::get(repository, endpoint, url)
        }
    }
}

/// An answer, and whether it is the registry's own.
struct Answer {
    response: Response,
    from: Speaker,
}

/// Who answers: only the registry is shown credentials and may ask for them.
#[derive(PartialEq, Eq)]
enum Speaker {
    Registry,
    Elsewhere,
}

impl Repository {
    /// Sends until there is an answer that stands, whatever its status.
    pub(crate) async fn send(&self, request: &Request<'_>) -> Result<Response, RegistryError> {
        let tls = &request.endpoint.tls;
        // Settings that somebody made are read, and found wrong, even where they are not needed.
        let http = match request.endpoint.scheme {
            Scheme::Http if *tls == TlsSettings::default() => {
                self.shared.http.get(&TlsSettings::unused())?
            }
            _ => self.shared.http.get(tls)?,
        };
        let mut auth = AuthSession {
            state: &self.shared.auth,
            authority: &self.authority,
            accounts: &self.accounts,
            http: &http,
            endpoint: request.endpoint,
            scopes: &request.scopes,
            shown: Shown::Nothing,
        };
        let mut retry = self.shared.retry;
        if request.persistence == Persistence::Once {
            retry.attempts = 1;
        }
        let mut failures = 0;
        let mut challenges = 0;
        loop {
            let outcome = self.attempt(request, &http, &mut auth).await;
            let pause = match outcome {
                Ok(answer) if is_challenge(&answer) && challenges < MAX_CHALLENGES => {
                    challenges += 1;
                    match auth.refused(answer.response.headers()).await? {
                        Next::Retry => continue,
                        Next::Stop => return Ok(answer.response),
                        Next::Denied(reason) => {
                            return Err(RegistryError::Denied {
                                action: request.access.verb(),
                                reason,
                            });
                        }
                    }
                }
                Ok(Answer { response, .. }) => {
                    failures += 1;
                    let is_temporary = is_temporary_status(response.status().as_u16());
                    match retry.again(failures, retry_after(&response)) {
                        Some(pause) if is_temporary => pause,
                        _ => return Ok(response),
                    }
                }
                Err(error) => {
                    failures += 1;
                    match retry.again(failures, error.retry_after()) {
                        Some(pause) if error.is_temporary() => {
                            tracing::debug!(%error, "retrying");
                            pause
                        }
                        _ => return Err(error),
                    }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Like [`Repository::send`], with every status but success made an error.
    pub(crate) async fn send_ok(&self, request: &Request<'_>) -> Result<Response, RegistryError> {
        let response = self.send(request).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            // What else is not found, such as the repository to push to, the registry has to say.
            StatusCode::NOT_FOUND if matches!(request.method, Method::GET | Method::HEAD) => {
                Err(RegistryError::NotFound {
                    what: format!("content at {}", without_secrets(&request.url)),
                })
            }
            _ => Err(status_error(&request.method, &request.url, response).await),
        }
    }

    async fn attempt(
        &self,
        request: &Request<'_>,
        http: &reqwest::Client,
        auth: &mut AuthSession<'_>,
    ) -> Result<Answer, RegistryError> {
        let first = self.follow(request, &request.url, http, auth).await;
        let may_downgrade =
            request.endpoint.scheme == Scheme::HttpsThenHttp && request.url.scheme() == "https";
        match first {
            Err(RegistryError::Transport {
                source: TransportError::Http(error),
                ..
            }) if may_downgrade && error.is_connect() => {
                tracing::debug!(url = %request.url, "no TLS there; trying plain HTTP as configured");
                let mut plain = request.url.clone();
                // "https" to "http" is a change the parser always allows.
                let _ = plain.set_scheme("http");
                self.follow(request, &plain, http, auth).await
            }
            other => other,
        }
    }

    async fn follow(
        &self,
        request: &Request<'_>,
        start: &Url,
        http: &reqwest::Client,
        auth: &mut AuthSession<'_>,
    ) -> Result<Answer, RegistryError> {
        let mut url = start.clone();
        // An upload's next step may lie at another host, which is told nothing either.
        let home = request.endpoint.url("", &[])?;
        let is_home =
            is_same_place(&home, &url) || is_downgraded_home(request.endpoint, &home, &url);
        let stranger = || {
            self.shared
                .http
                .get(&request.endpoint.tls.without_identity())
        };
        let (mut from, mut client) = match is_home {
            true => (Speaker::Registry, http.clone()),
            false => (Speaker::Elsewhere, stranger()?),
        };
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = request.headers.clone();
            if from == Speaker::Registry {
                headers.extend(request.endpoint.headers.clone());
                if let Some(value) = auth.header().await? {
                    headers.insert(AUTHORIZATION, value);
                }
            }
            let response = self.exchange(&client, request, &url, headers).await?;
            let Some(target) = redirect_target(request, &url, &response)? else {
                return Ok(Answer { response, from });
            };
            if from == Speaker::Registry && !is_same_place(&url, &target) {
                from = Speaker::Elsewhere;
                client = stranger()?;
            }
            url = target;
        }
        Err(RegistryError::Redirect {
            from: without_secrets(start),
            to: without_secrets(&url),
            reason: "stopped after 10 redirects",
        })
    }

    /// Sends once and waits for the answer's head.
    async fn exchange(
        &self,
        client: &reqwest::Client,
        request: &Request<'_>,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<Response, RegistryError> {
        let transport = |source| RegistryError::Transport {
            method: request.method.to_string(),
            url: without_secrets(url),
            source,
        };
        let mut builder = client
            .request(request.method.clone(), url.clone())
            .headers(headers);
        let mut limit = self.shared.timeouts.answer;
        let mut moves = None;
        match &request.body {
            Body::Empty => {}
            Body::Bytes(bytes) => {
                limit += Duration::from_secs(bytes.len() as u64 / SLOWEST_UPLOAD);
                builder = builder.body(bytes.clone());
            }
            Body::Open(open, length) => {
                let body = open().map_err(|source| RegistryError::Io {
                    what: "reading the blob to push".to_owned(),
                    source,
                })?;
                builder = builder.header("content-length", *length).body(body);
                limit += Duration::from_secs(length / SLOWEST_UPLOAD);
            }
            Body::Growing(open) => {
                let (body, watch) = watched(open());
                builder = builder.body(body);
                moves = Some(watch);
            }
        }
        tracing::trace!(method = %request.method, url = %without_secrets(url), "request");
        let idle = self.shared.timeouts.idle;
        let (sent, limit) = match moves {
            None => (
                tokio::time::timeout(limit, builder.send()).await.ok(),
                limit,
            ),
            Some(moves) => (while_moving(builder.send(), moves, idle).await, idle),
        };
        match sent {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(transport(TransportError::Http(error.without_url()))),
            None => Err(transport(TransportError::Timeout(limit))),
        }
    }
}

fn is_challenge(answer: &Answer) -> bool {
    answer.response.status() == StatusCode::UNAUTHORIZED && answer.from == Speaker::Registry
}

/// The plain HTTP form of an endpoint that is configured to fall back to it.
fn is_downgraded_home(endpoint: &Endpoint, home: &Url, url: &Url) -> bool {
    endpoint.scheme == Scheme::HttpsThenHttp
        && home.host_str() == url.host_str()
        && home.port() == url.port()
}

fn redirect_target(
    request: &Request<'_>,
    url: &Url,
    response: &Response,
) -> Result<Option<Url>, RegistryError> {
    let follows = match response.status().as_u16() {
        301..=303 => matches!(request.method, Method::GET | Method::HEAD),
        307 | 308 => true,
        _ => false,
    };
    if !follows {
        return Ok(None);
    }
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let refuse = |to: &str, reason| {
        Err(RegistryError::Redirect {
            from: without_secrets(url),
            to: to.to_owned(),
            reason,
        })
    };
    let Ok(target) = url.join(location) else {
        return refuse(location, "not a URL");
    };
    match target.scheme() {
        "https" => Ok(Some(target)),
        "http" if url.scheme() == "http" || request.endpoint.scheme != Scheme::Https => {
            Ok(Some(target))
        }
        "http" => refuse(
            &without_secrets(&target),
            "it leaves TLS; set insecure and http for this registry if that is meant",
        ),
        _ => refuse(&without_secrets(&target), "not an HTTP address"),
    }
}

/// In seconds, or until a point in time.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let left = until.duration_since(std::time::SystemTime::now());
    Some(left.unwrap_or_default())
}

/// The error for an answer that should have been another, with the registry's own words.
pub(crate) async fn status_error(method: &Method, url: &Url, response: Response) -> RegistryError {
    let status = response.status();
    let retry_after = retry_after(&response);
    let body = read_prefix(response, MAX_ERROR_BODY).await;
    RegistryError::Status {
        method: method.to_string(),
        url: without_secrets(url),
        status: status.to_string(),
        code: status.as_u16(),
        body: ErrorBody::parse(&body),
        retry_after,
    }
}

/// As much of a body as may be read and does come: an error within an error is not told.
async fn read_prefix(mut response: Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < limit {
        match tokio::time::timeout(Duration::from_secs(10), response.chunk()).await {
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            _ => break,
        }
    }
    body
}

/// Reads a body of bounded size that keeps coming.
pub(crate) async fn read_limited(
    mut response: Response,
    limit: usize,
    what: &str,
    idle: Duration,
) -> Result<Bytes, RegistryError> {
    let too_large = |size: u64| RegistryError::TooLarge {
        what: what.to_owned(),
        size,
        limit: limit as u64,
    };
    if let Some(size) = response.content_length()
        && size > limit as u64
    {
        return Err(too_large(size));
    }
    let url = without_secrets(response.url());
    let broken = |source| RegistryError::Transport {
        method: "GET".to_owned(),
        url: url.clone(),
        source,
    };
    let mut body = Vec::new();
    loop {
        let piece = match tokio::time::timeout(idle, response.chunk()).await {
            Ok(Ok(Some(piece))) => piece,
            Ok(Ok(None)) => return Ok(body.into()),
            Ok(Err(error)) => return Err(broken(TransportError::Http(error.without_url()))),
            Err(_) => return Err(broken(TransportError::Timeout(idle))),
        };
        if body.len() + piece.len() > limit {
            return Err(too_large((body.len() + piece.len()) as u64));
        }
        body.extend_from_slice(&piece);
    }
}
