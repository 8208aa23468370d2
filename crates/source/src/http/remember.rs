//! What is kept with a download, to ask the server whether it has changed.

use std::time::SystemTime;

use kiln_store::{Ref, Store};
use oci_spec::image::Digest;
use reqwest::header::{ETAG, HeaderMap, LAST_MODIFIED};
use serde::{Deserialize, Serialize};

use super::identifier::HttpIdentifier;
use crate::error::SourceError;

/// Name of the value kept with a download.
const VALUE: &str = "http";

/// What a server said of a file that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) digest: Digest,
    pub(super) filename: String,
    /// Without the mark of weak ones: bytes are compared by their digest anyway.
    pub(super) etag: Option<String>,
    /// `Last-Modified`, as it came.
    pub(super) modified: Option<String>,
}

/// A download of before.
#[derive(Debug, Clone)]
pub(super) struct Before {
    pub(super) reference: Ref,
    pub(super) memory: Memory,
}

impl Memory {
    pub(super) fn new(headers: &HeaderMap, digest: Digest, filename: String) -> Self {
        Self {
            digest,
            filename,
            etag: etag(headers),
            modified: last_modified(headers),
        }
    }

    /// When the file was changed last, if the server said so in a way that can be understood.
    pub(super) fn time(&self) -> Option<SystemTime> {
        time(self.modified.as_deref()?)
    }
}

/// `Last-Modified` of an answer.
pub(super) fn last_modified(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(LAST_MODIFIED)?.to_str().ok()?;
    Some(value.to_owned())
}

/// A date as servers write it (RFC 9110, section 5.6.7).
pub(super) fn time(date: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(date).ok()
}

/// The entity tag of an answer.
pub(super) fn etag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    Some(tag.strip_prefix("W/").unwrap_or(tag).to_owned())
}

/// The download of before that an identifier may stand for. Blocks.
pub(super) fn recall(
    store: &Store,
    identifier: &HttpIdentifier,
) -> Result<Option<Before>, SourceError> {
    let Some(reference) = store.ref_by_key(&identifier.memory_key()?)? else {
        return Ok(None);
    };
    let memory = reference.value(VALUE)?;
    let memory = memory.and_then(|text| serde_json::from_slice(&text).ok());
    Ok(memory.map(|memory| Before { reference, memory }))
}

/// Keeps what is known of a download for the next time. Blocks.
pub(super) fn remember(
    store: &Store,
    identifier: &HttpIdentifier,
    before: &Before,
) -> Result<(), SourceError> {
    let text = serde_json::to_vec(&before.memory);
    let text = text.map_err(|error| SourceError::Internal(error.to_string()))?;
    before.reference.set_value(VALUE, &text)?;
    store.set_key(&identifier.memory_key()?, &before.reference)?;
    Ok(())
}
