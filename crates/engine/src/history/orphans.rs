//! Records of builds whose processes were killed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use bytes::BytesMut;
use kiln_protocol::rpc;
use tonic::Code;

use super::table::Unfinished;
use super::tally::Tally;
use super::writer::Ending;
use super::{HistoryError, Shared, log};

/// What is read at once.
const CHUNK: usize = 1 << 20;

impl Shared {
    /// Ends the records of builds that nobody runs any more, and removes logs
    /// that nobody writes. Blocks.
    pub(super) fn close_orphans(&self) -> Result<(), HistoryError> {
        for unfinished in self.table.unfinished()? {
            if !self.store.lease_lives(&unfinished.lease)? {
                self.close_orphan(&unfinished)?;
            }
        }
        Ok(())
    }

    fn close_orphan(&self, unfinished: &Unfinished) -> Result<(), HistoryError> {
        let _lease = self.store.lease()?;
        // It may have been completed a moment ago.
        let Some(row) = self.table.get(&unfinished.build)? else {
            return Ok(());
        };
        if !row.version.is_active {
            return Ok(());
        }
        let mut ending = Ending::new(row.record);
        let path = self.spools.join(&unfinished.lease);
        if let Ok((length, tally)) = read_log(&path) {
            ending.count(&tally);
            ending.keep_log(&self.store, &path, length)?;
        }
        let status = rpc::Status {
            code: Code::Aborted as i32,
            message: "the process that ran this build was stopped before the build ended".into(),
            details: Vec::new(),
        };
        ending.fail(&self.store, status)?;
        self.table
            .complete(&ending.record, &unfinished.lease, &ending.blobs)?;
        let _ = std::fs::remove_file(&path);
        self.announce_change();
        Ok(())
    }

    /// Removes logs of killed processes that no record needs. Blocks.
    pub(super) fn sweep_spools(&self) -> Result<(), HistoryError> {
        let failed = |error| HistoryError::log(&self.spools, error);
        let unfinished = self.table.unfinished()?;
        for entry in std::fs::read_dir(&self.spools).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let lease = entry.file_name().to_string_lossy().into_owned();
            let is_needed = unfinished.iter().any(|build| build.lease == lease);
            if !is_needed && !self.store.lease_lives(&lease)? {
                // Another process may be faster.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

/// The length of the whole messages in a log, and what they tell.
fn read_log(path: &Path) -> std::io::Result<(u64, Tally)> {
    let mut file = File::open(path)?;
    let mut tally = Tally::default();
    let mut rest = BytesMut::new();
    let mut length = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk)?;
        rest.extend_from_slice(&chunk[..count]);
        loop {
            let before = rest.len();
            match log::take_message(&mut rest) {
                Ok(Some(message)) => tally.add(&message),
                Ok(None) => break,
                Err(_) => return Ok((length, tally)),
            }
            length += (before - rest.len()) as u64;
        }
        if count == 0 {
            return Ok((length, tally));
        }
    }
}
