//! The calls of the service, in both of its protocols: find an entry, reserve a key, commit what was uploaded.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

use super::super::StoreError;
use super::super::web::{Answer, Body, Request, Web};
use crate::options::{GhaOptions, GhaProtocol};

/// SHA-256 of `|go-actionscache-1.0`: entries of another version are invisible, and this is what the field's engines write.
pub(super) const VERSION: &str = "693bb7016429d80366022f036f84856888c9f13e00145f5f6f4dce303a38d6f2";
const LARGEST_ANSWER: u64 = 32 << 10;

/// The service of one job.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) web: Web,
    pub(super) protocol: GhaProtocol,
    base: Url,
    headers: HeaderMap,
}

/// What was found under a key, or under one that begins with it.
pub(super) struct Entry {
    pub(super) key: String,
    /// Where its bytes are; whoever knows it may read them.
    pub(super) url: Url,
}

/// What became of a wish to write a key.
pub(super) enum Reserved {
    Ours(Reservation),
    /// It exists already, or somebody else is writing it.
    Taken,
}

/// A key that may be written.
pub(super) enum Reservation {
    /// By number.
    V1(u64),
    /// The key, and the address on Azure.
    V2(String, Url),
}

impl Service {
    pub(super) fn new(web: Web, options: &GhaOptions) -> Result<Self, String> {
        let path = match options.protocol {
            GhaProtocol::V1 => "_apis/artifactcache/",
            GhaProtocol::V2 => "twirp/github.actions.results.api.v1.CacheService/",
        };
        let base = format!("{}/{path}", options.url.as_str().trim_end_matches('/'));
        let base = Url::parse(&base).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        let bearer = format!("Bearer {}", options.token.reveal());
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|error| error.to_string())?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        if options.protocol == GhaProtocol::V1 {
            let accept = "application/json;api-version=6.0-preview.1";
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        Ok(Self {
            web,
            protocol: options.protocol,
            base,
            headers,
        })
    }

    /// A call, whose answer may be a refusal.
    pub(super) async fn call(
        &self,
        action: &str,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<Answer, StoreError> {
        let request = self.request(action, method, path)?;
        let request = match body {
            None => request,
            Some(body) => {
                let mut request = request;
                let json = HeaderValue::from_static("application/json");
                request.headers.insert(CONTENT_TYPE, json);
                request.body = Body::Bytes(body.to_string().into());
                request
            }
        };
        self.web.ask(action, &request, LARGEST_ANSWER).await
    }

    pub(super) fn request(
        &self,
        action: &str,
        method: Method,
        path: &str,
    ) -> Result<Request, StoreError> {
        let url = self.base.join(path);
        let url = url.map_err(|error| self.web.failed(action, error.to_string()))?;
        Ok(Request {
            headers: self.headers.clone(),
            ..Request::new(method, url)
        })
    }

    fn answer<T: for<'a> Deserialize<'a>>(
        &self,
        action: &str,
        answer: &Answer,
    ) -> Result<T, StoreError> {
        if !answer.status.is_success() {
            return Err(self.web.refusal(action, answer.status, &answer.body));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.web
                .failed(action, format!("its answer makes no sense: {error}"))
        })
    }

    /// The newest entry whose key begins so.
    pub(super) async fn find(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let action = format!("look for {key} in");
        let (found, url) = match self.protocol {
            GhaProtocol::V1 => {
                let query = [("keys", key), ("version", VERSION)];
                let mut request = self.request(&action, Method::GET, "cache")?;
                request.url.query_pairs_mut().extend_pairs(query);
                let answer = self.web.ask(&action, &request, LARGEST_ANSWER).await?;
                if matches!(
                    answer.status,
                    StatusCode::NO_CONTENT | StatusCode::NOT_FOUND
                ) {
                    return Ok(None);
                }
                let found: FoundV1 = self.answer(&action, &answer)?;
                (found.cache_key, found.archive_location)
            }
            GhaProtocol::V2 => {
                let body = json!({"key": key, "restore_keys": [key], "version": VERSION});
                let path = "GetCacheEntryDownloadURL";
                let answer = self.call(&action, Method::POST, path, Some(body)).await?;
                if answer.status == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                let found: FoundV2 = self.answer(&action, &answer)?;
                if !found.ok {
                    return Ok(None);
                }
                (found.matched_key, found.signed_download_url)
            }
        };
        if found.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(&url)
            .map_err(|error| self.web.failed(&*action, format!("its address: {error}")))?;
        Ok(Some(Entry { key: found, url }))
    }

    /// Asks for the right to write a key.
    pub(super) async fn reserve(&self, key: &str) -> Result<Reserved, StoreError> {
        let action = format!("reserve {key} in");
        let path = match self.protocol {
            GhaProtocol::V1 => "caches",
            GhaProtocol::V2 => "CreateCacheEntry",
        };
        let body = json!({"key": key, "version": VERSION});
        let answer = self.call(&action, Method::POST, path, Some(body)).await?;
        if answer.status == StatusCode::CONFLICT {
            return Ok(Reserved::Taken);
        }
        if answer.status == StatusCode::BAD_REQUEST {
            // The first protocol's servers have also said so with this status.
            let text = String::from_utf8_lossy(&answer.body).to_lowercase();
            return match text.contains("alreadyexists") || text.contains("already exists") {
                true => Ok(Reserved::Taken),
                false => Err(self.web.refusal(&action, answer.status, &answer.body)),
            };
        }
        let reservation = match self.protocol {
            GhaProtocol::V1 => {
                let reserved: ReservedV1 = self.answer(&action, &answer)?;
                Reservation::V1(reserved.cache_id)
            }
            GhaProtocol::V2 => {
                let reserved: ReservedV2 = self.answer(&action, &answer)?;
                if !reserved.ok {
                    return Ok(Reserved::Taken);
                }
                let url = Url::parse(&reserved.signed_upload_url)
                    .map_err(|error| self.web.failed(&*action, format!("its address: {error}")))?;
                Reservation::V2(key.to_owned(), url)
            }
        };
        Ok(Reserved::Ours(reservation))
    }

    /// Makes what was uploaded an entry.
    pub(super) async fn commit(
        &self,
        reservation: &Reservation,
        size: u64,
    ) -> Result<(), StoreError> {
        let action = "commit an entry to";
        let answer = match reservation {
            Reservation::V1(id) => {
                let body = json!({"size": size});
                self.call(action, Method::POST, &format!("caches/{id}"), Some(body))
                    .await?
            }
            Reservation::V2(key, _) => {
                let body = json!({"key": key, "size_bytes": size, "version": VERSION});
                self.call(action, Method::POST, "FinalizeCacheEntryUpload", Some(body))
                    .await?
            }
        };
        match reservation {
            Reservation::V1(_) if answer.status.is_success() => Ok(()),
            Reservation::V1(_) => Err(self.web.refusal(action, answer.status, &answer.body)),
            Reservation::V2(..) => {
                let committed: Committed = self.answer(action, &answer)?;
                match committed.ok {
                    true => Ok(()),
                    false => Err(self.web.failed(action, "it was not accepted")),
                }
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundV1 {
    #[serde(default)]
    cache_key: String,
    #[serde(default)]
    archive_location: String,
}

#[derive(Deserialize)]
struct FoundV2 {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    signed_download_url: String,
    #[serde(default)]
    matched_key: String,
}

#[derive(Deserialize)]
struct ReservedV1 {
    #[serde(rename = "cacheId", alias = "cacheID", alias = "cacheid")]
    cache_id: u64,
}

#[derive(Deserialize)]
struct ReservedV2 {
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    signed_upload_url: String,
}

#[derive(Deserialize)]
struct Committed {
    #[serde(default)]
    ok: bool,
}
