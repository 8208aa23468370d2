//! Uploading the bytes of an entry: in ranges to the service itself, or in blocks to Azure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::super::StoreError;
use super::super::blob::OpenBlob;
use super::super::web::{Body, Request};
use super::service::{Reservation, Service};

/// What one request carries.
const PART: u64 = 32 << 20;
/// More blocks than this Azure does not put together.
const MOST_BLOCKS: u64 = 40_000;
/// Requests for one entry at the same time.
const UNDER_WAY: usize = 4;
const AZURE_VERSION: (&str, &str) = ("x-ms-version", "2023-11-03");

/// What becomes an entry.
pub(super) enum Data {
    Bytes(Bytes),
    Blob(OpenBlob),
}

/// A range of it.
#[derive(Clone, Copy)]
struct Part {
    number: u64,
    start: u64,
    length: u64,
}

impl Data {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.size,
        }
    }

    fn part(&self, part: Part) -> Body {
        match self {
            Self::Bytes(bytes) => {
                let start = part.start as usize;
                Body::Bytes(bytes.slice(start..start + part.length as usize))
            }
            Self::Blob(blob) => Body::Part(blob.clone(), part.start, part.length),
        }
    }

    fn parts(&self) -> Vec<Part> {
        let size = self.size();
        let length = PART.max(size.div_ceil(MOST_BLOCKS));
        let count = size.div_ceil(length);
        let parts = (0..count).map(|number| Part {
            number,
            start: number * length,
            length: length.min(size - number * length),
        });
        parts.collect()
    }
}

impl Service {
    /// Uploads and commits. What breaks off stays reserved, and never becomes an entry.
    pub(super) async fn save(
        &self,
        reservation: &Reservation,
        data: &Data,
    ) -> Result<(), StoreError> {
        match reservation {
            Reservation::V1(id) => {
                let ranges = data.parts();
                futures::stream::iter(ranges)
                    .map(|part| self.send_range(*id, data, part))
                    .buffer_unordered(UNDER_WAY)
                    .try_collect::<()>()
                    .await?;
            }
            Reservation::V2(_, url) => self.send_blob(url, data).await?,
        }
        self.commit(reservation, data.size()).await
    }

    async fn send_range(&self, id: u64, data: &Data, part: Part) -> Result<(), StoreError> {
        let action = "send a part of an entry to";
        let mut request = self.request(action, Method::PATCH, &format!("caches/{id}"))?;
        let last = part.start + part.length - 1;
        let range = HeaderValue::from_str(&format!("bytes {}-{last}/*", part.start));
        let range = range.map_err(|error| self.web.failed(action, error.to_string()))?;
        let bytes = HeaderValue::from_static("application/octet-stream");
        request.headers.insert(CONTENT_RANGE, range);
        request.headers.insert(CONTENT_TYPE, bytes);
        request.body = data.part(part);
        self.send_ok(action, &request).await
    }

    /// In one go, or block by block with a list of them at the end, which makes it a blob.
    async fn send_blob(&self, url: &Url, data: &Data) -> Result<(), StoreError> {
        let action = "send an entry to";
        let parts = data.parts();
        if let [] | [_] = parts[..] {
            let mut request = azure(url, &[]);
            let kind = HeaderValue::from_static("BlockBlob");
            request
                .headers
                .insert(HeaderName::from_static("x-ms-blob-type"), kind);
            request.body = match parts.first() {
                Some(part) => data.part(*part),
                None => Body::Empty,
            };
            return self.send_ok(action, &request).await;
        }
        futures::stream::iter(parts.clone())
            .map(|part| {
                let mut request =
                    azure(url, &[("comp", "block"), ("blockid", &block(part.number))]);
                request.body = data.part(part);
                async move { self.send_ok(action, &request).await }
            })
            .buffer_unordered(UNDER_WAY)
            .try_collect::<()>()
            .await?;
        let mut list = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
        for part in &parts {
            list += &format!("<Latest>{}</Latest>", block(part.number));
        }
        list += "</BlockList>";
        let mut request = azure(url, &[("comp", "blocklist")]);
        request.body = Body::Bytes(list.into());
        self.send_ok(action, &request).await
    }

    async fn send_ok(&self, action: &str, request: &Request) -> Result<(), StoreError> {
        let answer = self.web.send(action, request).await?;
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(self.web.refused(action, answer).await),
        }
    }
}

/// A request to an address that says itself who may use it.
fn azure(url: &Url, query: &[(&str, &str)]) -> Request {
    let mut url = url.clone();
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let mut request = Request::new(Method::PUT, url);
    let (name, version) = AZURE_VERSION;
    request.headers.insert(
        HeaderName::from_static(name),
        HeaderValue::from_static(version),
    );
    request
}

/// Names of blocks all have the same length.
fn block(number: u64) -> String {
    BASE64.encode(format!("{number:08}"))
}
