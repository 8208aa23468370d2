//! The receiving end of a transfer.
//!
//! Packets are taken from the link in batches and worked on by one thread, the reader, which
//! keeps the protocol and asks the sink about each entry. Content goes on to a few writers. The
//! reader never waits for the link's other direction, so neither end can block both.

mod budget;
mod reader;
mod writers;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use writers::IncomingFile;

use super::entry::TreeEntry;
use super::error::TransferError;
use super::link::Link;
use super::pump;

/// What a tree that is received becomes.
pub trait Sink: Send + 'static {
    /// How it fails.
    type Error: From<TransferError> + std::fmt::Display + Send + 'static;
    /// Writes the content of one file.
    type File: IncomingFile<Error = Self::Error>;
    /// What comes of it all.
    type Output: Send + 'static;

    /// Takes note of an entry. If the content of a file is wanted, the answer is where it goes.
    ///
    /// # Errors
    /// The entry cannot be made.
    fn entry(&mut self, entry: &Arc<TreeEntry>) -> Result<Option<Self::File>, Self::Error>;

    /// Completes the tree: everything is known, all content that was wanted is written. The
    /// sender is told that all is well once this is done.
    ///
    /// # Errors
    /// The tree cannot be completed.
    fn finish(
        self,
        entries: Vec<Arc<TreeEntry>>,
        hands: Vec<<Self::File as IncomingFile>::Hand>,
    ) -> Result<Self::Output, Self::Error>;
}

/// Receives a tree into a sink. Dropping the future ends the transfer.
///
/// # Errors
/// The other side fails or does not keep to the protocol, or the sink fails. The other side is
/// told why.
pub async fn receive<S: Sink>(link: Link, sink: S) -> Result<S::Output, S::Error> {
    let Link { inbound, outbound } = link;
    let (inbox, filling) = pump::inbox(inbound);
    let (requests, mut waiting) = mpsc::unbounded_channel();
    let work = tokio::task::spawn_blocking(move || reader::run(inbox, requests, sink));
    let sending = async move {
        while let Some(packets) = waiting.recv().await {
            if outbound.send(Ok(packets)).await.is_err() {
                break;
            }
        }
    };
    let (worked, rest, ()) = tokio::join!(work, filling, sending);
    rest.see_off().await;
    match worked {
        Ok(outcome) => outcome,
        Err(error) => Err(TransferError::Internal(error.to_string()).into()),
    }
}
