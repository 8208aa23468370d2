//! `local.metadatatransfer`: all names and attributes, but the content of a few files only.

use kiln_session::transfer::TreeEntry;
use kiln_store::pattern::PatternMatcher;
use kiln_store::walk::FilterError;

use crate::error::SourceError;

/// The file that lists everything there is. One that the client has of this name is not taken.
pub(super) const LISTING: &str = ".fsutil-metadata";

/// The list as it grows, and what comes along whole.
pub(super) struct MetadataOnly {
    whole: PatternMatcher,
    /// Each entry as its announcement, with the length in front.
    pub(super) listing: Vec<u8>,
}

/// Whether a file is made in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is, and so are the directories it is in.
    Made,
    /// It is only listed, unless something in it is made.
    Listed,
    /// It is neither.
    Nowhere,
}

impl MetadataOnly {
    pub(super) fn new(whole: &[String]) -> Result<Self, SourceError> {
        let matcher = PatternMatcher::new(whole).map_err(|source| FilterError {
            kind: "metadata transfer exceptions",
            patterns: whole.to_vec(),
            source,
        })?;
        Ok(Self {
            whole: matcher,
            listing: Vec::new(),
        })
    }

    /// Takes note of an entry.
    pub(super) fn judge(&mut self, entry: &TreeEntry) -> Presence {
        let first = entry.path.split(|&byte| byte == b'/').next();
        if first == Some(LISTING.as_bytes()) {
            return Presence::Nowhere;
        }
        let announcement = entry.to_bytes();
        self.listing
            .extend_from_slice(&(announcement.len() as u32).to_le_bytes());
        self.listing.extend_from_slice(&announcement);
        match self.whole.matches(&entry.path) {
            true => Presence::Made,
            false => Presence::Listed,
        }
    }
}
