//! Blobs as they arrive, from where they broke off if need be.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kiln_store::refs::FetchStream;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio_util::io::StreamReader;

use super::StoreError;
use super::web::{causes, pause};

/// How often a blob may break off without getting on in between.
const ATTEMPTS: u32 = 6;
/// How long the next piece may take.
const SILENCE: Duration = Duration::from_mins(1);

/// Asks for a blob from an offset on; an answer that says no is an error.
pub(super) type Opening =
    Arc<dyn Fn(u64) -> BoxFuture<'static, Result<Response, StoreError>> + Send + Sync>;

/// A blob of this size, as a reader.
pub(super) async fn resumable(opening: Opening, size: u64) -> Result<FetchStream, StoreError> {
    let first = opening(0).await?;
    let arriving = Arriving {
        opening,
        body: pieces(first),
        skip: 0,
        done: 0,
        size,
        failures: 0,
    };
    let stream = futures::stream::try_unfold(arriving, |mut arriving| async move {
        let piece = arriving.next().await?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, arriving)))
    });
    Ok(Box::new(StreamReader::new(stream.boxed())))
}

struct Arriving {
    opening: Opening,
    body: BoxStream<'static, Result<Bytes, String>>,
    /// Bytes that come again, because the server does not know of offsets.
    skip: u64,
    done: u64,
    size: u64,
    failures: u32,
}

fn pieces(answer: Response) -> BoxStream<'static, Result<Bytes, String>> {
    answer
        .bytes_stream()
        .map_err(|error| causes(&error.without_url()))
        .boxed()
}

impl Arriving {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.done >= self.size {
                return Ok(None);
            }
            let reason = match tokio::time::timeout(SILENCE, self.body.next()).await {
                Ok(Some(Ok(piece))) => match self.advance(piece) {
                    Some(piece) => return Ok(Some(piece)),
                    None => continue,
                },
                Ok(Some(Err(reason))) => reason,
                Ok(None) => format!("it ended after {} of {} bytes", self.done, self.size),
                Err(_) => "it stopped".to_owned(),
            };
            self.failures += 1;
            if self.failures >= ATTEMPTS {
                return Err(io::Error::other(reason));
            }
            tokio::time::sleep(pause(self.failures)).await;
            self.reopen().await?;
        }
    }

    /// What of a piece is new.
    fn advance(&mut self, mut piece: Bytes) -> Option<Bytes> {
        let known = self.skip.min(piece.len() as u64);
        let _ = piece.split_to(known as usize);
        self.skip -= known;
        piece.truncate(usize::try_from(self.size - self.done).unwrap_or(usize::MAX));
        if piece.is_empty() {
            return None;
        }
        self.done += piece.len() as u64;
        self.failures = 0;
        Some(piece)
    }

    async fn reopen(&mut self) -> io::Result<()> {
        let answer = (self.opening)(self.done).await.map_err(io::Error::other)?;
        let starts_there = answer.status() == StatusCode::PARTIAL_CONTENT && {
            let range = answer.headers().get(CONTENT_RANGE);
            let range = range.and_then(|range| range.to_str().ok());
            range.is_some_and(|range| range.starts_with(&format!("bytes {}-", self.done)))
        };
        self.skip = if starts_there { 0 } else { self.done };
        self.body = pieces(answer);
        Ok(())
    }
}
