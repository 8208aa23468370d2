//! Requests to web servers, repeated where a failure may pass.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};

use super::StoreError;
use super::blob::OpenBlob;
use super::error::{told, without_queries};

/// How often a request is sent.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Servers may ask for longer pauses than ours, up to this.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_mins(1);
/// An upload slower than this, in bytes a second, is taken to hang.
const SLOWEST_UPLOAD: u64 = 16 << 10;
/// Refusals are read up to this size.
const LARGEST_REFUSAL: u64 = 64 << 10;

/// One server, or several that belong together.
#[derive(Clone)]
pub(super) struct Web {
    pub(super) http: reqwest::Client,
    /// What users know the store by.
    pub(super) title: String,
    /// How long one request may be repeated.
    pub(super) patience: Duration,
}

/// A request that can be sent again.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    wait: Option<Duration>,
}

#[derive(Clone)]
pub(super) enum Body {
    Empty,
    Bytes(Bytes),
    /// A part of a blob: where it starts, and how long it is.
    Part(OpenBlob, u64, u64),
}

impl Body {
    fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Part(_, _, length) => *length,
        }
    }
}

impl Request {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::Empty,
        }
    }
}

impl Web {
    pub(super) fn failed(
        &self,
        action: impl Into<String>,
        reason: impl Into<String>,
    ) -> StoreError {
        StoreError::Failed {
            action: action.into(),
            title: self.title.clone(),
            reason: reason.into(),
        }
    }

    /// Sends a request until there is an answer that will not change by itself, or patience ends. `action` is for
    /// errors: `read X from`.
    pub(super) async fn send(
        &self,
        action: &str,
        request: &Request,
    ) -> Result<Response, StoreError> {
        let verdict = |answer: &Response| wait(answer.status(), answer.headers());
        self.persist(action, || self.exchange(request), verdict)
            .await
    }

    /// The same for an answer of at most `limit` bytes, which arrives as a whole.
    pub(super) async fn ask(
        &self,
        action: &str,
        request: &Request,
        limit: u64,
    ) -> Result<Answer, StoreError> {
        let attempt = || async move {
            let answer = self.exchange(request).await?;
            Ok(Answer {
                status: answer.status(),
                wait: wait(answer.status(), answer.headers()),
                body: read(answer, limit).await?,
            })
        };
        self.persist(action, attempt, |answer| answer.wait).await
    }

    /// Makes attempts until one is good: one that should be repeated says how long to wait at least.
    async fn persist<T, F: Future<Output = Result<T, String>>>(
        &self,
        action: &str,
        attempt: impl Fn() -> F,
        verdict: impl Fn(&T) -> Option<Duration>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let mut failures = 0;
        loop {
            let outcome = attempt().await;
            failures += 1;
            let may_go_on = failures < ATTEMPTS && start.elapsed() < self.patience;
            let wait = match &outcome {
                Ok(answer) => verdict(answer),
                Err(_) => Some(Duration::ZERO),
            };
            match (wait, outcome) {
                (Some(wait), _) if may_go_on && wait <= LONGEST_WAIT => {
                    tokio::time::sleep(wait.max(pause(failures))).await;
                }
                (_, outcome) => return outcome.map_err(|reason| self.failed(action, reason)),
            }
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Response, String> {
        let length = request.body.length();
        let builder = self
            .http
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        let builder = match &request.body {
            Body::Empty if request.method == Method::GET || request.method == Method::HEAD => {
                builder
            }
            Body::Empty => builder.header(CONTENT_LENGTH, 0),
            Body::Bytes(bytes) => builder.body(bytes.clone()),
            Body::Part(blob, start, length) => builder
                .header(CONTENT_LENGTH, *length)
                .body(reqwest::Body::wrap_stream(blob.stream(*start, *length))),
        };
        let limit = ANSWER + Duration::from_secs(length / SLOWEST_UPLOAD);
        match tokio::time::timeout(limit, builder.send()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(causes(&error.without_url())),
            Err(_) => Err(format!("no answer within {} seconds", limit.as_secs())),
        }
    }

    /// An answer that says no, as an error.
    pub(super) async fn refused(&self, action: &str, answer: Response) -> StoreError {
        let status = answer.status();
        let body = read(answer, LARGEST_REFUSAL).await.unwrap_or_default();
        self.refusal(action, status, &body)
    }

    pub(super) fn refusal(&self, action: &str, status: StatusCode, body: &[u8]) -> StoreError {
        if status.is_redirection() {
            return self.failed(action, format!("{status}: redirects are not followed"));
        }
        let reason = match told(&String::from_utf8_lossy(body)) {
            Some(told) => format!("{status}: {told}"),
            None => status.to_string(),
        };
        self.failed(action, reason)
    }
}

async fn read(mut answer: Response, limit: u64) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    loop {
        let piece = tokio::time::timeout(ANSWER, answer.chunk()).await;
        let piece = piece.map_err(|_| "the answer broke off".to_owned())?;
        match piece.map_err(|error| causes(&error.without_url()))? {
            None => return Ok(bytes.into()),
            Some(piece) if (bytes.len() + piece.len()) as u64 > limit => {
                return Err(format!("the answer is larger than {limit} bytes"));
            }
            Some(piece) => bytes.extend_from_slice(&piece),
        }
    }
}

/// An error with all that led to it, without queries of URLs.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    without_queries(&text)
}

fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

/// How long to wait before asking again; `None` if there is no point in it.
fn wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let asked = || {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
        text.trim().parse().ok().map(Duration::from_secs)
    };
    is_temporary(status).then(|| asked().unwrap_or_default())
}

/// Doubled each time, and a little different for each of many that wait for the same server.
pub(super) fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let chance = RandomState::new().build_hasher().finish() % 256;
    doubled.min(LONGEST_PAUSE) + FIRST_PAUSE * chance as u32 / 512
}
