//! One request and its answer.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, LOCATION, RANGE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use url::Url;

use crate::body::{Extent, Note, Passing};
use crate::ledger::Ledger;
use crate::record::{self, Reason};
use crate::rules::{Rules, Verdict};
use crate::{headers, location};

/// An answer: of a server, or our own.
pub(crate) type Answer = Response<Either<Passing, Full<Bytes>>>;

/// Where requests of a connection go.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// Each says it itself.
    Named,
    /// To the far end of a tunnel: a scheme and an authority, such as `https://host:8443`.
    Tunnel(String),
}

/// What all requests of a proxy share.
pub(crate) struct Exchanges {
    pub(crate) client: reqwest::Client,
    pub(crate) rules: Option<Arc<dyn Rules>>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Exchanges {
    /// Sends a request on, if it may be, and returns the answer as soon as it begins.
    pub(crate) async fn answer(&self, request: Request<Incoming>, origin: &Origin) -> Answer {
        let (parts, body) = request.into_parts();
        let method = parts.method;
        if self.ledger.is_full() {
            let text = "the step has made too many requests to be recorded";
            return own(StatusCode::SERVICE_UNAVAILABLE, text);
        }
        let url = match asked(origin, &parts.uri, &parts.headers) {
            Ok(url) => url,
            Err(reason) => return own(StatusCode::BAD_REQUEST, &reason),
        };
        if let Some(protocol) = headers::upgrade(&parts.headers) {
            self.record(&method, &url, StatusCode::NOT_IMPLEMENTED, None);
            let text = format!("a step's proxy forwards HTTP only, not {protocol}");
            return own(StatusCode::NOT_IMPLEMENTED, &text);
        }
        match self.judge(&method, url).await {
            Ok(url) => self.forward(method, url, parts.headers, body).await,
            Err(reason) => own(StatusCode::FORBIDDEN, &format!("Forbidden\n{reason}")),
        }
    }

    /// What to fetch, or why nothing.
    async fn judge(&self, method: &Method, url: Url) -> Result<Url, String> {
        let Some(rules) = &self.rules else {
            return Ok(url);
        };
        let shown = location::redacted(&url);
        let judged = match rules.judge(method.as_str(), &shown).await {
            Verdict::Allow => Ok(url),
            Verdict::Fetch(other) if other == shown => Ok(url),
            Verdict::Fetch(_) if method != Method::GET => Err(format!(
                "the rules want {shown} to be fetched from elsewhere, which is possible for GET only"
            )),
            Verdict::Fetch(other) => location::fetchable(&other)
                .map_err(|reason| format!("the rules replace {shown} by what is no URL: {reason}")),
            Verdict::Deny(reason) => Err(reason),
        };
        judged.inspect_err(|reason| self.ledger.denied(method.as_str(), &shown, reason))
    }

    async fn forward(
        &self,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        body: Incoming,
    ) -> Answer {
        headers::of_request(&mut headers);
        let extent = match headers.contains_key(RANGE) {
            true => Extent::Part,
            false => Extent::Whole,
        };
        let mut request = self
            .client
            .request(method.clone(), url.clone())
            .headers(headers);
        if !body.is_end_stream() {
            request = request.body(reqwest::Body::wrap(body));
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return self.unreachable(&method, &url, error),
        };
        let (mut parts, body) = Response::<reqwest::Body>::from(answer).into_parts();
        let target = parts.headers.get(LOCATION).map(HeaderValue::as_bytes);
        let target = target.map(|value| location::target(&url, &String::from_utf8_lossy(value)));
        self.record(&method, &url, parts.status, target);
        headers::of_response(&mut parts.headers);
        // Which HTTP the server spoke is nothing to the client.
        parts.version = Version::HTTP_11;
        let note = Note {
            ledger: Arc::clone(&self.ledger),
            method,
            url: location::redacted(&url),
            extent,
            status: parts.status,
        };
        Response::from_parts(parts, Either::Left(Passing::new(body, note)))
    }

    fn unreachable(&self, method: &Method, url: &Url, error: reqwest::Error) -> Answer {
        self.record(method, url, StatusCode::BAD_GATEWAY, None);
        let shown = location::redacted(url);
        self.ledger
            .incomplete(method.as_str(), &shown, Reason::UpstreamError);
        own(
            StatusCode::BAD_GATEWAY,
            &format!("{shown}: {}", chain(&error.without_url())),
        )
    }

    fn record(&self, method: &Method, url: &Url, status: StatusCode, target: Option<String>) {
        self.ledger.request(record::Request {
            method: method.to_string(),
            url: location::redacted(url),
            redirect_target: target,
            status: status.as_u16(),
        });
    }
}

/// The absolute URL of a request.
fn asked(origin: &Origin, uri: &http::Uri, headers: &HeaderMap) -> Result<Url, String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    match origin {
        Origin::Tunnel(origin) => location::fetchable(&format!("{origin}{path}")),
        Origin::Named if uri.scheme().is_some() => location::fetchable(&uri.to_string()),
        Origin::Named => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            let host = host.ok_or("the request names no host")?;
            location::fetchable(&format!("http://{host}{path}"))
        }
    }
}

/// An error with what caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// An answer of the proxy itself.
pub(crate) fn own(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Either::Right(Full::from(format!("{text}\n"))));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}
