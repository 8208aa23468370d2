//! The thread that keeps the protocol.

use std::collections::HashMap;

use bytes::Bytes;
use kiln_protocol::fsutil::packet::PacketType;
use kiln_protocol::fsutil::{Packet, Stat};
use tokio::sync::mpsc::UnboundedSender;

use super::Sink;
use super::writers::{Job, Part, Shared, Writers};
use crate::transfer::entry::{EntryKind, TreeEntry};
use crate::transfer::error::TransferError;
use crate::transfer::order::Ordered;
use crate::transfer::pump::{Inbox, plain, report};

/// Content of one file that is kept together before it is written.
const PIECE: usize = 256 << 10;

/// Files that a sender may have sent a part of.
const MAX_STARTED: usize = 256;

/// Runs the receiving end until it is over, and tells the other side how it went.
pub(super) fn run<S: Sink>(
    mut inbox: Inbox,
    outbound: UnboundedSender<Vec<Packet>>,
    sink: S,
) -> Result<S::Output, S::Error> {
    let shared = Shared::default();
    let outcome = std::thread::scope(|scope| {
        let reader = Reader {
            sink,
            list: Ordered::default(),
            listing: Listing::UnderWay,
            wanted: HashMap::new(),
            started: 0,
            requests: Vec::new(),
            writers: Writers::start(scope, &shared),
            shared: &shared,
        };
        reader.receive(&mut inbox, &outbound)
    });
    match &outcome {
        Ok(_) => {
            outbound.send(vec![plain(PacketType::PacketFin)]).ok();
            farewell(&mut inbox)?;
        }
        Err(error) => {
            outbound.send(vec![report(&error.to_string())]).ok();
        }
    }
    outcome
}

/// Waits for the sender's last word.
fn farewell(inbox: &mut Inbox) -> Result<(), TransferError> {
    while let Some(batch) = inbox.blocking_recv() {
        for packet in batch.map_err(TransferError::Call)? {
            match packet.r#type() {
                PacketType::PacketFin => return Ok(()),
                PacketType::PacketErr => return Err(reported(&packet)),
                _ => {}
            }
        }
    }
    Err(TransferError::Ended)
}

struct Reader<'scope, S: Sink> {
    sink: S,
    list: Ordered,
    listing: Listing,
    /// Files whose content is asked for and not complete.
    wanted: HashMap<usize, Wanted<S::File>>,
    /// How many of them have come in part.
    started: usize,
    requests: Vec<Packet>,
    writers: Writers<'scope, S::File>,
    shared: &'scope Shared,
}

/// Whether all entries are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    UnderWay,
    Complete,
}

struct Wanted<F> {
    /// `None` once a writer has it.
    file: Option<F>,
    announced: u64,
    received: u64,
    /// What has come and no writer has.
    content: Vec<Bytes>,
    held: usize,
}

impl<S: Sink> Reader<'_, S> {
    fn receive(
        mut self,
        inbox: &mut Inbox,
        outbound: &UnboundedSender<Vec<Packet>>,
    ) -> Result<S::Output, S::Error> {
        let read = self.read(inbox, outbound);
        // A writer's failure says more than what it led to here.
        let hands = self.writers.finish();
        match (read, hands) {
            (Ok(()), Ok(hands)) => self.sink.finish(self.list.into_entries(), hands),
            (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
        }
    }

    fn read(
        &mut self,
        inbox: &mut Inbox,
        outbound: &UnboundedSender<Vec<Packet>>,
    ) -> Result<(), S::Error> {
        while self.listing == Listing::UnderWay || !self.wanted.is_empty() {
            let batch = inbox.blocking_recv().ok_or(TransferError::Ended)?;
            for packet in batch.map_err(TransferError::Call)? {
                self.packet(packet)?;
            }
            self.writers.flush();
            if !self.requests.is_empty() {
                let requests = std::mem::take(&mut self.requests);
                outbound.send(requests).map_err(|_| TransferError::Ended)?;
            }
            if self.writers.have_failed() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn packet(&mut self, packet: Packet) -> Result<(), S::Error> {
        let unexpected = |what: &str| Err(TransferError::Protocol(format!("unexpected {what}")));
        match PacketType::try_from(packet.r#type) {
            Ok(PacketType::PacketStat) => match (&packet.stat, self.listing) {
                (_, Listing::Complete) => unexpected("entry after the end of the list")?,
                (Some(stat), _) => return self.entry(stat),
                (None, _) => self.listing = Listing::Complete,
            },
            Ok(PacketType::PacketData) => self.data(packet.id, packet.data)?,
            Ok(PacketType::PacketErr) => return Err(reported(&packet).into()),
            Ok(PacketType::PacketFin) => unexpected("end of the transfer")?,
            Ok(PacketType::PacketReq) => unexpected("request from the sender")?,
            Err(_) => unexpected(&format!("packet of type {}", packet.r#type))?,
        }
        Ok(())
    }

    fn entry(&mut self, stat: &Stat) -> Result<(), S::Error> {
        let at = self.list.entries().len();
        let entry = self.list.push(TreeEntry::from_stat(stat)?)?;
        let Some(file) = self.sink.entry(&entry)? else {
            return Ok(());
        };
        let mut wanted = Wanted {
            file: Some(file),
            announced: entry.size,
            received: 0,
            content: Vec::new(),
            held: 0,
        };
        // Nothing need be sent of a file that is empty.
        if entry.kind != EntryKind::File || entry.size == 0 {
            self.writers.add(wanted.job(at, Part::Last));
            return Ok(());
        }
        self.wanted.insert(at, wanted);
        self.requests.push(Packet {
            id: u32::try_from(at).unwrap_or(u32::MAX),
            ..plain(PacketType::PacketReq)
        });
        Ok(())
    }

    fn data(&mut self, id: u32, data: Bytes) -> Result<(), TransferError> {
        let at = id as usize;
        let bytes = data.len();
        if !self.wanted.contains_key(&at) {
            return Err(TransferError::Protocol(format!(
                "invalid file request {id}"
            )));
        }
        if bytes > 0 && !self.shared.budget.try_take(bytes) {
            self.release_all();
            self.shared.budget.take(bytes);
        }
        let Some(wanted) = self.wanted.get_mut(&at) else {
            return Ok(());
        };
        if bytes > 0 {
            if wanted.received == 0 {
                self.started += 1;
            }
            wanted.received += bytes as u64;
            wanted.held += bytes;
            wanted.content.push(data);
            if wanted.held >= PIECE {
                self.writers.add(wanted.job(at, Part::More));
            }
            if self.started > MAX_STARTED {
                return Err(TransferError::Protocol(format!(
                    "more than {MAX_STARTED} files are under way at once"
                )));
            }
            return Ok(());
        }
        if wanted.received < wanted.announced {
            return Err(TransferError::Torn {
                path: crate::transfer::error::path_of(&self.list.entries()[at].path).to_owned(),
                received: wanted.received,
                announced: wanted.announced,
            });
        }
        self.started -= 1;
        self.writers.add(wanted.job(at, Part::Last));
        self.wanted.remove(&at);
        Ok(())
    }

    /// Gives all content that is held together to the writers, so that its memory becomes free.
    fn release_all(&mut self) {
        for (&at, wanted) in &mut self.wanted {
            if wanted.held > 0 {
                self.writers.add(wanted.job(at, Part::More));
            }
        }
        self.writers.flush();
    }
}

impl<F> Wanted<F> {
    fn job(&mut self, at: usize, part: Part) -> Job<F> {
        self.held = 0;
        Job {
            at,
            file: self.file.take(),
            content: std::mem::take(&mut self.content),
            part,
        }
    }
}

fn reported(packet: &Packet) -> TransferError {
    TransferError::Reported(String::from_utf8_lossy(&packet.data).into_owned())
}
