//! A server that speaks like the cache service of GitHub Actions, in both of its protocols.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::azure::Blobs;
use crate::serving::Serving;
use crate::web_cache::{offset, part};

/// Claims of a job on a branch, which may also read the main branch.
const CLAIMS: &str = r#"{"ac":"[{\"Scope\":\"refs/heads/feature\",\"Permission\":3},{\"Scope\":\"refs/heads/main\",\"Permission\":1}]","exp":99999999999,"nbf":0}"#;

/// A running service; stopped on drop.
#[derive(Debug)]
pub struct ActionsCache {
    serving: Serving,
    state: Arc<Mutex<Entries>>,
}

/// All entries, in the order in which they were reserved.
#[derive(Debug, Default)]
pub struct Entries {
    /// Complete ones and others.
    pub entries: Vec<Entry>,
    azure: Blobs,
    /// The calls so far, by the last part of their path.
    pub calls: Vec<String>,
}

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it was reserved as.
    pub key: String,
    /// Its version.
    pub version: String,
    /// Its bytes, as far as they came.
    pub data: Vec<u8>,
    /// It can be found.
    pub is_committed: bool,
}

impl ActionsCache {
    /// Starts an empty one.
    pub fn start() -> io::Result<Self> {
        let state = Arc::new(Mutex::new(Entries::default()));
        let router = Router::new().fallback(answer).with_state(state.clone());
        Ok(Self {
            serving: Serving::route(router)?,
            state,
        })
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.serving.host()
    }

    /// The token of a job.
    pub fn token() -> String {
        Self::token_with(CLAIMS)
    }

    /// A token with other claims.
    pub fn token_with(claims: &str) -> String {
        format!("e30.{}.signature", URL_SAFE_NO_PAD.encode(claims))
    }

    /// What there is.
    pub fn entries(&self) -> MutexGuard<'_, Entries> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(state): State<Arc<Mutex<Entries>>>, request: Request) -> Response {
    let start = offset(&request);
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut entries = state.lock().unwrap_or_else(PoisonError::into_inner);
    let path = parts.uri.path().to_owned();
    let call = path.rsplit('/').next().unwrap_or_default().to_owned();
    entries.calls.push(call.clone());
    if let Some(number) = path.strip_prefix("/signed/") {
        return entries.signed(&parts, number, start, body);
    }
    let bearer = parts.headers.get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok());
    if !bearer.is_some_and(|bearer| bearer.starts_with("Bearer ")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if path.contains("/actions/caches") {
        return entries.list(&parts);
    }
    match path.strip_prefix("/twirp/github.actions.results.api.v1.CacheService/") {
        Some(call) => entries.second(&parts, call, &body),
        None => match path.strip_prefix("/_apis/artifactcache/") {
            Some(call) => entries.first(&parts, call, body),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

fn argument(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned();
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

/// Addresses lead to where the request was sent to.
fn base(parts: &Parts) -> String {
    let host = parts.headers.get(header::HOST);
    let host = host.and_then(|value| value.to_str().ok());
    format!("http://{}/signed", host.unwrap_or_default())
}

impl Entries {
    fn find(&self, prefix: &str, version: &str) -> Option<usize> {
        self.entries.iter().rposition(|entry| {
            entry.is_committed && entry.version == version && entry.key.starts_with(prefix)
        })
    }

    fn reserve(&mut self, key: &str, version: &str) -> Option<usize> {
        let mut same = self.entries.iter();
        if same.any(|entry| entry.key == key && entry.version == version) {
            return None;
        }
        self.entries.push(Entry {
            key: key.to_owned(),
            version: version.to_owned(),
            data: Vec::new(),
            is_committed: false,
        });
        Some(self.entries.len() - 1)
    }

    fn commit(&mut self, number: usize, size: Option<u64>) -> bool {
        match self.entries.get_mut(number) {
            Some(entry) if Some(entry.data.len() as u64) == size => {
                entry.is_committed = true;
                true
            }
            _ => false,
        }
    }

    /// The service's own protocol.
    fn first(&mut self, parts: &Parts, call: &str, body: Bytes) -> Response {
        let number = call
            .strip_prefix("caches/")
            .and_then(|id| id.parse::<usize>().ok());
        match (&parts.method, call, number) {
            (&Method::GET, "cache", _) => {
                let prefix = argument(parts, "keys").unwrap_or_default();
                let version = argument(parts, "version").unwrap_or_default();
                match self.find(&prefix, &version) {
                    None => StatusCode::NO_CONTENT.into_response(),
                    Some(found) => json_of(json!({
                        "cacheKey": self.entries[found].key,
                        "scope": "refs/heads/feature",
                        "archiveLocation": format!("{}/{found}?sig=hush", base(parts)),
                    })),
                }
            }
            (&Method::POST, "caches", _) => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                match self.reserve(text(&body, "key"), text(&body, "version")) {
                    Some(number) => json_of(json!({"cacheId": number + 1})),
                    None => (
                        StatusCode::CONFLICT,
                        r#"{"typeKey":"ArtifactCacheItemAlreadyExistsException","message":"it already exists"}"#,
                    )
                        .into_response(),
                }
            }
            (&Method::PATCH, _, Some(id)) => {
                let range = parts.headers.get(header::CONTENT_RANGE);
                let range = range
                    .and_then(|range| range.to_str().ok())
                    .unwrap_or_default();
                let start = range
                    .strip_prefix("bytes ")
                    .and_then(|range| range.split('-').next());
                let (Some(Ok(start)), Some(entry)) = (
                    start.map(str::parse::<usize>),
                    self.entries.get_mut(id.wrapping_sub(1)),
                ) else {
                    return StatusCode::BAD_REQUEST.into_response();
                };
                let end = start + body.len();
                if entry.data.len() < end {
                    entry.data.resize(end, 0);
                }
                entry.data[start..end].copy_from_slice(&body);
                StatusCode::NO_CONTENT.into_response()
            }
            (&Method::POST, _, Some(id)) => {
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                match self.commit(id.wrapping_sub(1), body["size"].as_u64()) {
                    true => StatusCode::NO_CONTENT.into_response(),
                    false => StatusCode::BAD_REQUEST.into_response(),
                }
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    /// The protocol with blobs on Azure.
    fn second(&mut self, parts: &Parts, call: &str, body: &Bytes) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let (key, version) = (text(&body, "key"), text(&body, "version"));
        match call {
            "GetCacheEntryDownloadURL" => match self.find(key, version) {
                None => json_of(json!({"ok": false})),
                Some(found) => json_of(json!({
                    "ok": true,
                    "signed_download_url": format!("{}/{found}?sig=hush", base(parts)),
                    "matched_key": self.entries[found].key,
                })),
            },
            "CreateCacheEntry" => match self.reserve(key, version) {
                None => (
                    StatusCode::CONFLICT,
                    r#"{"code":"already_exists","msg":"cache entry already exists"}"#,
                )
                    .into_response(),
                Some(number) => json_of(json!({
                    "ok": true,
                    "signed_upload_url": format!("{}/{number}?sig=hush", base(parts)),
                })),
            },
            "FinalizeCacheEntryUpload" => {
                let mut same = self.entries.iter();
                let number = same.position(|entry| entry.key == key && entry.version == version);
                if let Some(number) = number
                    && let Some(blob) = self.azure.blobs.get(&number.to_string())
                {
                    self.entries[number].data = blob.to_vec();
                }
                let size = body["size_bytes"].as_u64();
                let ok = number.is_some_and(|number| self.commit(number, size));
                json_of(json!({"ok": ok, "entry_id": "1"}))
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    /// What whoever knows an address may do.
    fn signed(
        &mut self,
        parts: &Parts,
        number: &str,
        start: Option<usize>,
        body: Bytes,
    ) -> Response {
        if argument(parts, "sig").as_deref() != Some("hush") {
            return StatusCode::FORBIDDEN.into_response();
        }
        if parts.method == Method::PUT {
            return self.azure.answer(parts, number, body);
        }
        let entry = number.parse::<usize>().ok();
        match entry.and_then(|number| self.entries.get(number)) {
            Some(entry) if entry.is_committed => part(&entry.data, start),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    /// GitHub's own API.
    fn list(&self, parts: &Parts) -> Response {
        let prefix = argument(parts, "key").unwrap_or_default();
        let page = argument(parts, "page").and_then(|page| page.parse::<usize>().ok());
        let known = self
            .entries
            .iter()
            .filter(|entry| entry.is_committed && entry.key.starts_with(&prefix));
        let keys: Vec<_> = known.map(|entry| json!({"key": entry.key})).collect();
        let skipped = (page.unwrap_or(1) - 1) * 100;
        let page: Vec<_> = keys.iter().skip(skipped).take(100).collect();
        json_of(json!({"total_count": keys.len(), "actions_caches": page}))
    }
}

fn text<'a>(body: &'a Value, key: &str) -> &'a str {
    body[key].as_str().unwrap_or_default()
}

fn json_of(value: Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}
