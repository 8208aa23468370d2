//! Writing a download into a tree of its own.

use std::str::FromStr as _;

use bytes::Bytes;
use kiln_store::{MutableOptions, Ref, Store};
use oci_spec::image::Digest;
use reqwest::{Response, StatusCode};

use super::body::{Body, Encoding};
use super::request::Remote;
use crate::error::SourceError;
use crate::single_file::SingleFile;

/// Pieces that wait to be written, of some KiB each.
const QUEUE: usize = 64;

/// Where and how a download is written.
pub(super) struct Saving {
    pub(super) store: Store,
    pub(super) file: SingleFile,
    /// What it must be.
    pub(super) checksum: Option<Digest>,
    /// The URL as it may be shown.
    pub(super) url: String,
}

impl Saving {
    /// Writes the body of an answer, and answers the tree with the digest of the file. A file that is not what the
    /// identifier demands is not kept.
    pub(super) async fn save(
        self,
        mut response: Response,
        remote: &Remote,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<(Ref, Digest), SourceError> {
        let status = response.status();
        if !status.is_success() || status == StatusCode::PARTIAL_CONTENT {
            return Err(SourceError::DownloadStatus {
                url: self.url,
                status: status.as_u16(),
                reason: "is no whole file",
            });
        }
        let total = response.content_length().unwrap_or(0);
        let (pieces, queue) = tokio::sync::mpsc::channel(QUEUE);
        let encoding = Encoding::of(&response);
        let writing = tokio::task::spawn_blocking(move || self.write(encoding, queue));
        let mut current = 0;
        let mut broken = None;
        loop {
            match response.chunk().await {
                Ok(Some(piece)) => {
                    current += piece.len() as u64;
                    progress(current, total);
                    // A writer that is gone has an error to tell.
                    if pieces.send(Piece::Data(piece)).await.is_err() {
                        break;
                    }
                }
                Ok(None) => {
                    let _ = pieces.send(Piece::End).await;
                    break;
                }
                Err(error) => {
                    broken = Some(remote.failed(error));
                    break;
                }
            }
        }
        drop(pieces);
        let written = writing.await;
        let written = written.map_err(|error| SourceError::Internal(error.to_string()))?;
        match broken {
            Some(error) => Err(error),
            None => written,
        }
    }

    fn write(
        self,
        encoding: Encoding,
        mut queue: tokio::sync::mpsc::Receiver<Piece>,
    ) -> Result<(Ref, Digest), SourceError> {
        let options = MutableOptions {
            description: format!("http url {}", self.url),
            ..MutableOptions::default()
        };
        let tree = self.store.mutable(None, options)?;
        let file = self.file.create(&tree);
        let file = file.map_err(|error| self.failed("create", error))?;
        let mut body = Body::new(file, encoding);
        loop {
            match queue.blocking_recv() {
                Some(Piece::Data(piece)) => {
                    body.write(&piece)
                        .map_err(|error| self.failed("write", error))?;
                }
                Some(Piece::End) => break,
                None => {
                    return Err(SourceError::DownloadStopped {
                        url: self.url.clone(),
                    });
                }
            }
        }
        let written = body.finish();
        let (file, hash) = written.map_err(|error| self.failed("write", error))?;
        let digest = Digest::from_str(&format!("sha256:{hash}"));
        let digest = digest.map_err(|error| SourceError::Internal(error.to_string()))?;
        if let Some(expected) = &self.checksum
            && *expected != digest
        {
            return Err(SourceError::DownloadDigest {
                url: self.url,
                actual: digest,
                expected: expected.clone(),
            });
        }
        self.file
            .finish(&file)
            .map_err(|error| self.failed("set attributes of", error))?;
        Ok((tree.commit()?, digest))
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> SourceError {
        SourceError::DownloadWrite {
            url: self.url.clone(),
            action,
            source,
        }
    }
}

/// What goes to the thread that writes. Without an end the file is not whole.
enum Piece {
    Data(Bytes),
    End,
}
