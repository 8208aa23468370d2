//! The body of an answer, digested on its way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest as _, Sha256};

use crate::ledger::Ledger;
use crate::record::Reason;

/// What is recorded when a body has gone through.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) method: Method,
    /// As it is recorded.
    pub(crate) url: String,
    pub(crate) extent: Extent,
    pub(crate) status: StatusCode,
}

/// How much was asked for and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    Part,
}

/// How the body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Reached,
    Missed,
}

/// A body that passes through unchanged. Whatever becomes of it is recorded once.
#[derive(Debug)]
pub(crate) struct Passing {
    body: reqwest::Body,
    hash: Sha256,
    note: Option<Note>,
}

impl Passing {
    pub(crate) fn new(body: reqwest::Body, note: Note) -> Passing {
        Passing {
            body,
            hash: Sha256::new(),
            note: Some(note),
        }
    }

    fn end(&mut self, end: End) {
        let Some(note) = self.note.take() else { return };
        match note.reason(end) {
            Some(reason) => {
                let method = note.method.as_str();
                note.ledger.incomplete(method, &note.url, reason);
            }
            None if note.status.is_success() => {
                let digest = std::mem::take(&mut self.hash).finalize();
                let digest = format!("sha256:{}", hex::encode(digest));
                note.ledger.material(&note.url, digest);
            }
            // A redirect: what it leads to is the material.
            None => {}
        }
    }
}

impl Note {
    /// Why the answer is no material, by BuildKit's order of reasons.
    fn reason(&self, end: End) -> Option<Reason> {
        if self.method != Method::GET {
            return Some(Reason::MethodNotMaterializable);
        }
        if self.extent == Extent::Part || self.status == StatusCode::PARTIAL_CONTENT {
            return Some(Reason::PartialResponse);
        }
        if end == End::Missed {
            return Some(Reason::BodyReadFailed);
        }
        (self.status.as_u16() >= 400).then_some(Reason::UnsuccessfulResponse)
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.hash.update(data);
                }
            }
            Poll::Ready(Some(Err(_))) => self.end(End::Missed),
            Poll::Ready(None) => self.end(End::Reached),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Passing {
    /// A body of known length is let go of with its last byte, without being asked for more.
    fn drop(&mut self) {
        let end = match self.body.is_end_stream() {
            true => End::Reached,
            false => End::Missed,
        };
        self.end(end);
    }
}
