//! The threads that read what was asked for.

use bytes::Bytes;
use kiln_protocol::fsutil::Packet;
use kiln_protocol::fsutil::packet::PacketType;
use tokio::sync::mpsc::Sender;

use super::content::{LastDirectory, Reading};
use super::outgoing::{Content, OutgoingTree};
use super::queue::Queue;
use super::speaker::Terms;
use crate::transfer::error::TransferError;
use crate::transfer::link::{BATCH, BATCH_PACKETS, Batch};
use crate::transfer::pump::plain;

/// What one thread reads for.
pub(super) struct Reader<'a> {
    pub(super) tree: &'a OutgoingTree,
    pub(super) queue: &'a Queue,
    pub(super) outbound: &'a Sender<Batch>,
    pub(super) terms: &'a Terms,
}

impl Reader<'_> {
    /// Reads and sends until no more is wanted.
    pub(super) fn run(&self) -> Result<(), TransferError> {
        let mut last = LastDirectory::default();
        let mut parcel = Parcel {
            outbound: self.outbound,
            packets: Vec::new(),
            bytes: 0,
        };
        while let Some(files) = self.queue.take() {
            for at in files {
                if self.terms.stop.is_set() {
                    return Err(TransferError::Stopped);
                }
                self.send(at, &mut last, &mut parcel)?;
            }
            parcel.send()?;
        }
        Ok(())
    }

    fn send(
        &self,
        at: usize,
        last: &mut LastDirectory,
        parcel: &mut Parcel<'_>,
    ) -> Result<(), TransferError> {
        let outgoing = &self.tree.entries[at];
        let data = |content: Bytes| Packet {
            id: u32::try_from(at).unwrap_or(u32::MAX),
            data: content,
            ..plain(PacketType::PacketData)
        };
        let mut send = |content: Bytes| {
            (self.terms.progress)(content.len() as u64);
            parcel.add(data(content))
        };
        match &outgoing.content {
            Content::None => {}
            Content::Bytes(content) if content.is_empty() => {}
            Content::Bytes(content) => send(content.clone())?,
            Content::File { root, skip, .. } => {
                let reading = Reading {
                    root: (*root, &self.tree.roots[*root]),
                    path: &outgoing.entry.path[*skip..],
                };
                reading.read(last, &mut send)?;
            }
        }
        // The end of this file.
        parcel.add(data(Bytes::new()))
    }
}

/// Packets that go out in one step.
pub(super) struct Parcel<'a> {
    pub(super) outbound: &'a Sender<Batch>,
    pub(super) packets: Vec<Packet>,
    pub(super) bytes: usize,
}

impl Parcel<'_> {
    pub(super) fn add(&mut self, packet: Packet) -> Result<(), TransferError> {
        self.bytes += packet.data.len();
        self.packets.push(packet);
        match self.bytes >= BATCH || self.packets.len() >= BATCH_PACKETS {
            true => self.send(),
            false => Ok(()),
        }
    }

    pub(super) fn send(&mut self) -> Result<(), TransferError> {
        self.bytes = 0;
        if self.packets.is_empty() {
            return Ok(());
        }
        let packets = std::mem::take(&mut self.packets);
        self.outbound
            .blocking_send(Ok(packets))
            .map_err(|_| TransferError::Ended)
    }
}
