//! The threads that announce and listen.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_protocol::fsutil::Packet;
use kiln_protocol::fsutil::packet::PacketType;
use tokio::sync::mpsc::Sender;

use super::outgoing::OutgoingTree;
use super::queue::Queue;
use super::reader::{Parcel, Reader};
use super::{SendProgress, StopFlag};
use crate::transfer::entry::EntryKind;
use crate::transfer::error::TransferError;
use crate::transfer::link::Batch;
use crate::transfer::pump::{Inbox, plain, report};

/// Beyond this many, threads only wait for each other.
const MOST: usize = 8;

/// Who is told of progress, and how the transfer is stopped.
pub(super) struct Terms {
    pub(super) stop: StopFlag,
    pub(super) progress: SendProgress,
}

/// Runs the sending end until it is over, and tells the other side how it went.
pub(super) fn run(
    inbox: Inbox,
    outbound: &Sender<Batch>,
    make: impl FnOnce(&StopFlag) -> Result<OutgoingTree, TransferError>,
    terms: &Terms,
) -> Result<(), TransferError> {
    let outcome = make(&terms.stop).and_then(|tree| {
        let speaker = Speaker {
            announced: AtomicUsize::new(0),
            queue: Queue::default(),
            failure: Mutex::default(),
            tree: &tree,
            outbound,
            terms,
        };
        speaker.speak(inbox)
    });
    let last = match &outcome {
        Ok(()) => vec![Ok(vec![plain(PacketType::PacketFin)])],
        Err(error) => vec![Ok(vec![report(&error.to_string())]), Err(error.to_status())],
    };
    for batch in last {
        outbound.blocking_send(batch).ok();
    }
    outcome
}

struct Speaker<'a> {
    tree: &'a OutgoingTree,
    outbound: &'a Sender<Batch>,
    terms: &'a Terms,
    /// Entries that the other side may know of.
    announced: AtomicUsize,
    queue: Queue,
    /// The first error of any thread.
    failure: Mutex<Option<TransferError>>,
}

impl Speaker<'_> {
    fn speak(&self, inbox: Inbox) -> Result<(), TransferError> {
        let readers = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            scope.spawn(|| self.note(self.announce()));
            for _ in 0..readers.min(MOST) {
                scope.spawn(|| {
                    let reader = Reader {
                        tree: self.tree,
                        queue: &self.queue,
                        outbound: self.outbound,
                        terms: self.terms,
                    };
                    self.note(reader.run());
                });
            }
            self.note(self.listen(inbox));
            self.queue.close();
        });
        let failure = self.failure.lock();
        let failure = failure.unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }

    /// Keeps the first error, and lets it be known at once: what the receiver answers ends the
    /// listening.
    fn note(&self, outcome: Result<(), TransferError>) {
        let Err(error) = outcome else { return };
        self.queue.close();
        let report = report(&error.to_string());
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        // That nobody takes packets any more has a reason, which is heard of otherwise.
        if matches!(*failure, None | Some(TransferError::Ended)) {
            *failure = Some(error);
        }
        drop(failure);
        self.outbound.blocking_send(Ok(vec![report])).ok();
    }

    fn announce(&self) -> Result<(), TransferError> {
        let mut parcel = Parcel {
            outbound: self.outbound,
            packets: Vec::new(),
            bytes: 0,
        };
        for outgoing in &self.tree.entries {
            if self.terms.stop.is_set() {
                return Err(TransferError::Stopped);
            }
            self.announced.fetch_add(1, Ordering::Relaxed);
            parcel.add(Packet {
                stat: Some(outgoing.entry.to_stat()),
                ..plain(PacketType::PacketStat)
            })?;
        }
        parcel.add(plain(PacketType::PacketStat))?;
        parcel.send()
    }

    /// Takes requests until the receiver has all it wants.
    fn listen(&self, mut inbox: Inbox) -> Result<(), TransferError> {
        let mut asked = vec![false; self.tree.entries.len()];
        while let Some(batch) = inbox.blocking_recv() {
            let mut files = Vec::new();
            for packet in batch.map_err(TransferError::Call)? {
                match PacketType::try_from(packet.r#type) {
                    Ok(PacketType::PacketReq) => files.push(self.request(packet.id, &mut asked)?),
                    Ok(PacketType::PacketFin) => return Ok(()),
                    Ok(PacketType::PacketErr) => {
                        let text = String::from_utf8_lossy(&packet.data).into_owned();
                        return Err(TransferError::Reported(text));
                    }
                    _ => {
                        let kind = packet.r#type;
                        let text = format!("unexpected packet of type {kind} from the receiver");
                        return Err(TransferError::Protocol(text));
                    }
                }
            }
            self.queue.push(files);
        }
        Err(TransferError::Ended)
    }

    fn request(&self, id: u32, asked: &mut [bool]) -> Result<(usize, u64), TransferError> {
        let at = id as usize;
        let is_known = at < self.announced.load(Ordering::Relaxed);
        match (self.tree.entries.get(at), asked.get_mut(at)) {
            (Some(outgoing), Some(asked))
                if is_known
                    && !*asked
                    && matches!(outgoing.entry.kind, EntryKind::File | EntryKind::Link(_)) =>
            {
                *asked = true;
                Ok((at, outgoing.entry.size))
            }
            _ => Err(TransferError::Protocol(format!("invalid file id {id}"))),
        }
    }
}
