//! A server that speaks like Azure's Blob Storage, written after its documentation: containers, block blobs, shared keys.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use ring::hmac;

use crate::serving::Serving;
use crate::web_cache::{offset, part};

/// The account that the server knows.
pub const ACCOUNT: &str = "kilntest";
/// Its key.
pub const KEY: &str = "b3Blbi1zZXNhbWUtb3Blbi1zZXNhbWU=";

type Containers = BTreeMap<String, Blobs>;

/// A running server; stopped on drop.
#[derive(Debug)]
pub struct AzureServer {
    serving: Serving,
    containers: Arc<Mutex<Containers>>,
}

impl AzureServer {
    /// Starts an account without containers.
    pub fn start() -> io::Result<Self> {
        let containers = Arc::new(Mutex::new(Containers::new()));
        let router = Router::new()
            .fallback(answer)
            .with_state(containers.clone());
        Ok(Self {
            serving: Serving::route(router)?,
            containers,
        })
    }

    /// `127.0.0.1:port`; the account is the first part of the path.
    pub fn host(&self) -> String {
        self.serving.host()
    }

    /// What there is.
    pub fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Blobs>> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blobs of a container, with blocks that are in none yet.
#[derive(Debug, Default)]
pub struct Blobs {
    /// By name.
    pub blobs: BTreeMap<String, Bytes>,
    blocks: BTreeMap<(String, String), Bytes>,
}

async fn answer(State(containers): State<Arc<Mutex<Containers>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if !is_signed(&parts, body.len()) {
        return refusal(StatusCode::FORBIDDEN, "AuthenticationFailed");
    }
    let mut containers = containers.lock().unwrap_or_else(PoisonError::into_inner);
    let query = query(&parts);
    let path = percent_decoded(parts.uri.path());
    let path = path.trim_start_matches('/');
    let mut names = path.splitn(3, '/').skip(1);
    let container = names.next().unwrap_or_default();
    let is_about_container = query.get("restype").is_some_and(|it| it == "container");
    if is_about_container && parts.method == Method::PUT {
        containers.entry(container.to_owned()).or_default();
        return StatusCode::CREATED.into_response();
    }
    let Some(found) = containers.get_mut(container) else {
        return refusal(StatusCode::NOT_FOUND, "ContainerNotFound");
    };
    match (is_about_container, query.get("comp").map(String::as_str)) {
        (true, Some("list")) => list(found, query.get("prefix").map_or("", String::as_str)),
        (true, _) => StatusCode::OK.into_response(),
        (false, _) => found.answer(&parts, names.next().unwrap_or_default(), body),
    }
}

impl Blobs {
    /// Answers a request about one blob.
    pub(crate) fn answer(&mut self, parts: &Parts, name: &str, body: Bytes) -> Response {
        let query = query(parts);
        match (&parts.method, query.get("comp").map(String::as_str)) {
            (&Method::PUT, Some("block")) => {
                let block = query.get("blockid").cloned().unwrap_or_default();
                self.blocks.insert((name.to_owned(), block), body);
                created()
            }
            (&Method::PUT, Some("blocklist")) => {
                let text = String::from_utf8_lossy(&body);
                let mut whole = Vec::new();
                for id in text
                    .split("<Latest>")
                    .chain(text.split("<Uncommitted>"))
                    .skip(1)
                {
                    let Some((id, _)) = id.split_once("</") else {
                        continue;
                    };
                    if id.contains('<') {
                        continue;
                    }
                    match self.blocks.get(&(name.to_owned(), id.to_owned())) {
                        Some(block) => whole.extend_from_slice(block),
                        None => return refusal(StatusCode::BAD_REQUEST, "InvalidBlockList"),
                    }
                }
                self.blocks.retain(|(of, _), _| of != name);
                self.blobs.insert(name.to_owned(), whole.into());
                created()
            }
            (&Method::PUT, None) if parts.headers.contains_key("x-ms-blob-type") => {
                self.blobs.insert(name.to_owned(), body);
                created()
            }
            (&Method::GET | &Method::HEAD, _) => match self.blobs.get(name) {
                None => refusal(StatusCode::NOT_FOUND, "BlobNotFound"),
                Some(blob) if parts.method == Method::HEAD => {
                    let length = [(header::CONTENT_LENGTH, blob.len().to_string())];
                    (properties(), length).into_response()
                }
                Some(blob) => {
                    let mut request = Request::new(axum::body::Body::empty());
                    *request.headers_mut() = parts.headers.clone();
                    let mut answer = part(blob, offset(&request));
                    for (name, value) in properties() {
                        if let Ok(value) = value.parse() {
                            answer.headers_mut().insert(name, value);
                        }
                    }
                    answer
                }
            },
            _ => StatusCode::BAD_REQUEST.into_response(),
        }
    }
}

fn created() -> Response {
    (StatusCode::CREATED, properties()).into_response()
}

fn properties() -> [(header::HeaderName, String); 2] {
    [
        (header::ETAG, "\"0x1\"".to_owned()),
        (
            header::LAST_MODIFIED,
            httpdate::fmt_http_date(SystemTime::now()),
        ),
    ]
}

fn refusal(status: StatusCode, code: &str) -> Response {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
    (status, [("x-ms-error-code", code.to_owned())], body).into_response()
}

fn list(found: &Blobs, prefix: &str) -> Response {
    let modified = httpdate::fmt_http_date(SystemTime::now());
    let mut text = String::from("<?xml version=\"1.0\"?><EnumerationResults><Blobs>");
    for (name, blob) in &found.blobs {
        if name.starts_with(prefix) {
            text += &format!(
                "<Blob><Name>{name}</Name><Properties><Last-Modified>{modified}</Last-Modified>\
                 <Etag>0x1</Etag><Content-Length>{}</Content-Length>\
                 <Content-Type>application/octet-stream</Content-Type></Properties></Blob>",
                blob.len()
            );
        }
    }
    text += "</Blobs><NextMarker/></EnumerationResults>";
    text.into_response()
}

fn query(parts: &Parts) -> BTreeMap<String, String> {
    let query = parts.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

fn percent_decoded(path: &str) -> String {
    let plus_kept = path.replace('+', "%2B");
    let decoded = url::form_urlencoded::parse(plus_kept.as_bytes()).next();
    decoded.map_or(String::new(), |(path, _)| path.into_owned())
}

/// Checks the signature with the account's key.
fn is_signed(parts: &Parts, length: usize) -> bool {
    let text = |name: &str| {
        let value = parts.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let length = match length {
        0 => String::new(),
        length => length.to_string(),
    };
    let mut to_sign = format!("{}\n", parts.method);
    for name in ["content-encoding", "content-language"] {
        to_sign += &format!("{}\n", text(name));
    }
    to_sign += &format!("{length}\n");
    for name in [
        "content-md5",
        "content-type",
        "date",
        "if-modified-since",
        "if-match",
        "if-none-match",
        "if-unmodified-since",
        "range",
    ] {
        to_sign += &format!("{}\n", text(name));
    }
    let mine = parts.headers.keys().map(header::HeaderName::as_str);
    let mut mine: Vec<_> = mine.filter(|name| name.starts_with("x-ms-")).collect();
    mine.sort_unstable();
    for name in mine {
        to_sign += &format!("{name}:{}\n", text(name));
    }
    to_sign += &format!("/{ACCOUNT}{}", parts.uri.path());
    for (name, value) in query(parts) {
        to_sign += &format!("\n{}:{value}", name.to_lowercase());
    }
    let Ok(key) = BASE64.decode(KEY) else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signature = BASE64.encode(hmac::sign(&key, to_sign.as_bytes()));
    text("authorization") == format!("SharedKey {ACCOUNT}:{signature}")
}
