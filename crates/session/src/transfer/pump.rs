//! Carries packets between a link and the threads that work on them.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::stream::Fuse;
use futures::{FutureExt as _, StreamExt as _};
use kiln_protocol::fsutil::Packet;
use kiln_protocol::fsutil::packet::PacketType;
use tokio::sync::mpsc;
use tonic::Status;

use super::link::{BATCH, BATCH_PACKETS, Batch};

/// Batches that may wait to be worked on.
const WAITING: usize = 4;

/// How long the other side may take to end its stream once everything is said.
const FAREWELL: Duration = Duration::from_secs(5);

type Packets = BoxStream<'static, Result<Packet, Status>>;

/// Batches of received packets, for a thread that may block. Ends with the stream; if that ends
/// with an error, this is the last.
pub(super) type Inbox = mpsc::Receiver<Batch>;

/// An inbox, and the future that fills it until it is dropped or nothing more comes.
pub(super) fn inbox(packets: Packets) -> (Inbox, impl Future<Output = Rest> + Send) {
    let (sender, inbox) = mpsc::channel(WAITING);
    (inbox, fill(Rest(packets.fuse()), sender))
}

/// What is left of a stream that nobody needs any more.
pub(super) struct Rest(Fuse<Packets>);

impl Rest {
    /// Waits a little for the stream to end. Dropped before that, it would look to the other side
    /// as if it had been given up.
    pub(super) async fn see_off(mut self) {
        let rest = async { while let Some(Ok(_)) = self.0.next().await {} };
        tokio::time::timeout(FAREWELL, rest).await.ok();
    }
}

async fn fill(mut packets: Rest, inbox: mpsc::Sender<Batch>) -> Rest {
    loop {
        let (batch, failure) = tokio::select! {
            batch = next_batch(&mut packets.0) => batch,
            () = inbox.closed() => return packets,
        };
        let is_over = batch.is_empty() || failure.is_some();
        if !batch.is_empty() && inbox.send(Ok(batch)).await.is_err() {
            return packets;
        }
        if let Some(status) = failure {
            inbox.send(Err(status)).await.ok();
        }
        if is_over {
            return packets;
        }
    }
}

/// Waits for a packet, and takes those that are there already along with it. Nothing comes after
/// an empty batch or an error.
async fn next_batch(packets: &mut Fuse<Packets>) -> (Vec<Packet>, Option<Status>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut next = Some(packets.next().await);
    while let Some(packet) = next {
        match packet {
            Some(Ok(packet)) => {
                bytes += packet.data.len();
                batch.push(packet);
            }
            Some(Err(status)) => return (batch, Some(status)),
            None => break,
        }
        let is_full = bytes >= BATCH || batch.len() >= BATCH_PACKETS;
        // What is taken out of the stream must be in the batch: a full one takes no more.
        next = match is_full {
            true => None,
            false => packets.next().now_or_never(),
        };
    }
    (batch, None)
}

/// A packet that has nothing but its type.
pub(super) fn plain(kind: PacketType) -> Packet {
    Packet {
        r#type: kind.into(),
        ..Packet::default()
    }
}

/// The packet that tells the other side of an error.
pub(super) fn report(message: &str) -> Packet {
    Packet {
        data: message.as_bytes().to_vec().into(),
        ..plain(PacketType::PacketErr)
    }
}
