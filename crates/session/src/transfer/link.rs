//! Two streams of packets that go opposite ways: what a transfer runs over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use kiln_protocol::fsutil::Packet;
use tokio::sync::mpsc;
use tonic::Status;

use super::error::TransferError;
use super::pump::report;

/// Batches that may wait to be sent. A batch is about [`BATCH`] bytes at most.
const WAITING: usize = 8;

/// Bytes after which a batch is passed on.
pub(super) const BATCH: usize = 256 << 10;

/// Packets after which a batch is passed on.
pub(super) const BATCH_PACKETS: usize = 256;

/// What goes out in one step: packets, or the end of the stream with an error.
pub(super) type Batch = Result<Vec<Packet>, Status>;

/// One end of a transfer.
pub struct Link {
    pub(super) inbound: BoxStream<'static, Result<Packet, Status>>,
    pub(super) outbound: mpsc::Sender<Batch>,
}

/// The packets that one end sends, for whoever carries them.
pub struct Outbound {
    batches: mpsc::Receiver<Batch>,
    batch: std::vec::IntoIter<Packet>,
}

impl Link {
    /// An end that takes packets from `inbound`, and the stream of those it sends.
    pub fn new(
        inbound: impl Stream<Item = Result<Packet, Status>> + Send + 'static,
    ) -> (Self, Outbound) {
        let (sender, outbound) = channel();
        let link = Self {
            inbound: inbound.boxed(),
            outbound: sender,
        };
        (link, outbound)
    }

    /// An end whose inbound packets come of handing over those it sends.
    pub fn through<S>(carry: impl FnOnce(Outbound) -> S) -> Self
    where
        S: Stream<Item = Result<Packet, Status>> + Send + 'static,
    {
        let (sender, outbound) = channel();
        Self {
            inbound: carry(outbound).boxed(),
            outbound: sender,
        }
    }

    /// Both ends of a transfer inside this process.
    pub fn pair() -> (Self, Self) {
        let (sender, from_here) = channel();
        let (there, from_there) = Self::new(from_here);
        let here = Self {
            inbound: from_there.boxed(),
            outbound: sender,
        };
        (here, there)
    }
}

impl Link {
    /// Ends the transfer before it has begun.
    pub(super) async fn refuse(self, error: &TransferError) {
        let report = report(&error.to_string());
        for batch in [Ok(vec![report]), Err(error.to_status())] {
            self.outbound.send(batch).await.ok();
        }
    }
}

fn channel() -> (mpsc::Sender<Batch>, Outbound) {
    let (sender, batches) = mpsc::channel(WAITING);
    let batch = Vec::new().into_iter();
    (sender, Outbound { batches, batch })
}

impl Stream for Outbound {
    type Item = Result<Packet, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(packet) = self.batch.next() {
                return Poll::Ready(Some(Ok(packet)));
            }
            match ready!(self.batches.poll_recv(cx)) {
                Some(Ok(batch)) => self.batch = batch.into_iter(),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Outbound {
    /// As the messages of a call that is made: that side has no way to send an error, its packets
    /// just end.
    pub(crate) fn of_call(self) -> CallPackets {
        CallPackets(self)
    }
}

/// The packets that the calling side of a call sends.
pub(crate) struct CallPackets(Outbound);

impl Stream for CallPackets {
    type Item = Packet;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Packet>> {
        let next = ready!(Pin::new(&mut self.0).poll_next(cx));
        Poll::Ready(next.and_then(Result::ok))
    }
}
