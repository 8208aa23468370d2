//! A web server that keeps what is put there, as remote caches of Bazel do.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::serving::Serving;

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A running server; stopped on drop.
#[derive(Debug)]
pub struct WebCache {
    serving: Serving,
    objects: Objects,
}

#[derive(Clone)]
struct Shared {
    objects: Objects,
    authorization: Option<String>,
}

impl WebCache {
    /// Starts an empty one. With `authorization`, requests without this header are refused.
    pub fn start(authorization: Option<&str>) -> io::Result<Self> {
        let objects = Objects::default();
        let shared = Shared {
            objects: objects.clone(),
            authorization: authorization.map(str::to_owned),
        };
        let router = Router::new().fallback(answer).with_state(shared);
        Ok(Self {
            serving: Serving::route(router)?,
            objects,
        })
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.serving.host()
    }

    /// What was put there, by path.
    pub fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    let shown = shown.and_then(|value| value.to_str().ok());
    if shared.authorization.is_some() && shown != shared.authorization.as_deref() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let path = request.uri().path().to_owned();
    let range = offset(&request);
    let method = request.method().clone();
    let Ok(body) = to_bytes(request.into_body(), usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut objects = shared
        .objects
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    match (method, objects.get(&path)) {
        (Method::PUT, _) => {
            objects.insert(path, body.to_vec());
            StatusCode::OK.into_response()
        }
        (Method::GET | Method::HEAD, None) => StatusCode::NOT_FOUND.into_response(),
        (Method::HEAD, Some(object)) => {
            let length = [(header::CONTENT_LENGTH, object.len())];
            (length, Body::empty()).into_response()
        }
        (Method::GET, Some(object)) => part(object, range),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

/// The start of an open range.
pub(crate) fn offset(request: &Request) -> Option<usize> {
    let range = request.headers().get(header::RANGE)?.to_str().ok()?;
    let range = range.strip_prefix("bytes=")?;
    range.split('-').next()?.parse().ok()
}

/// An object, from an offset on if one was asked for.
pub(crate) fn part(object: &[u8], offset: Option<usize>) -> Response {
    match offset.filter(|offset| *offset < object.len()) {
        None => object.to_vec().into_response(),
        Some(offset) => {
            let last = object.len() - 1;
            let range = format!("bytes {offset}-{last}/{}", object.len());
            let head = [(header::CONTENT_RANGE, range)];
            (StatusCode::PARTIAL_CONTENT, head, object[offset..].to_vec()).into_response()
        }
    }
}
