//! What happens to each entry as it comes.

use std::sync::Arc;

use kiln_session::transfer::{EntryKind, Sink, TreeEntry};
use kiln_store::{MutableRef, Ref, Store};

use super::before::{Before, Keys};
use super::complete::Completion;
use super::file::{Hand, SnapshotFile};
use super::metadata::{MetadataOnly, Presence};
use super::target::Shared;
use crate::error::SourceError;
use crate::local::identifier::LocalIdentifier;
use crate::local::source::{LocalProgress, TransferProgress};

/// How a file of the snapshot comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is as it was in the snapshot before.
    Keep,
    /// It is new or has changed.
    Make,
    /// It is not made, but as it was.
    ListedAgain,
    /// It is not made, and new or changed.
    ListedAnew,
}

impl Step {
    pub(super) fn is_made(self) -> bool {
        matches!(self, Self::Keep | Self::Make)
    }

    fn is_old(self) -> bool {
        matches!(self, Self::Keep | Self::ListedAgain)
    }
}

/// Makes a snapshot of what comes.
pub(super) struct SnapshotSink {
    store: Store,
    name: String,
    progress: LocalProgress,
    keys: Keys,
    before: Option<Before>,
    metadata: Option<MetadataOnly>,
    entries: Vec<Arc<TreeEntry>>,
    steps: Vec<Step>,
    /// The directories that the last entry is in or is.
    open: Vec<usize>,
    /// The snapshot, once anything is new. Its directories are made as they come.
    target: Option<(MutableRef, Arc<Shared>)>,
}

impl SnapshotSink {
    pub(super) fn new(
        store: Store,
        identifier: &LocalIdentifier,
        shared_key: &str,
        progress: LocalProgress,
    ) -> Result<Self, SourceError> {
        let keys = Keys::new(identifier, shared_key)?;
        let exceptions = identifier.metadata_exceptions.as_deref();
        let metadata = identifier
            .metadata_only
            .then(|| MetadataOnly::new(exceptions.unwrap_or_default()));
        Ok(Self {
            before: keys.find(&store, identifier)?,
            metadata: metadata.transpose()?,
            name: identifier.name.clone(),
            entries: Vec::new(),
            steps: Vec::new(),
            open: Vec::new(),
            target: None,
            store,
            progress,
            keys,
        })
    }

    /// The snapshot being made, with all directories that have come so far.
    fn target(&mut self) -> Result<Arc<Shared>, SourceError> {
        if let Some((_, shared)) = &self.target {
            return Ok(Arc::clone(shared));
        }
        let (tree, shared) = Shared::start(&self.store, &self.name, &self.progress)?;
        for (entry, step) in self.entries.iter().zip(&self.steps) {
            if entry.kind == EntryKind::Directory && step.is_made() {
                shared.make_directory(entry)?;
            }
        }
        self.target = Some((tree, Arc::clone(&shared)));
        Ok(shared)
    }

    /// Decides about an entry and the directories it is in.
    fn decide(&mut self, entry: &Arc<TreeEntry>) -> Step {
        let (directory, _) = entry.split();
        while let Some(&last) = self.open.last()
            && !is_in(directory, &self.entries[last].path)
        {
            self.open.pop();
        }
        let is_old = self.before.as_mut().is_some_and(|before| before.has(entry));
        let presence = self
            .metadata
            .as_mut()
            .map_or(Presence::Made, |metadata| metadata.judge(entry));
        match (presence, is_old) {
            (Presence::Made, true) => Step::Keep,
            (Presence::Made, false) => Step::Make,
            (Presence::Listed, false) => Step::ListedAnew,
            (Presence::Listed, true) | (Presence::Nowhere, _) => Step::ListedAgain,
        }
    }

    /// Directories of something that is made are made, too.
    fn raise_directories(&mut self) -> Result<(), SourceError> {
        for &at in &self.open {
            let step = match self.steps[at] {
                Step::ListedAgain => Step::Keep,
                Step::ListedAnew => Step::Make,
                Step::Keep | Step::Make => continue,
            };
            self.steps[at] = step;
            if let Some((_, shared)) = &self.target {
                shared.make_directory(&self.entries[at])?;
            }
        }
        Ok(())
    }
}

/// Whether a directory is another one or lies in it.
fn is_in(directory: &[u8], other: &[u8]) -> bool {
    directory
        .strip_prefix(other)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

impl Sink for SnapshotSink {
    type Error = SourceError;
    type File = SnapshotFile;
    type Output = Ref;

    fn entry(&mut self, entry: &Arc<TreeEntry>) -> Result<Option<SnapshotFile>, SourceError> {
        let step = self.decide(entry);
        if step.is_made() {
            self.raise_directories()?;
        }
        let at = self.entries.len();
        self.entries.push(Arc::clone(entry));
        self.steps.push(step);
        match entry.kind {
            EntryKind::Directory => {
                self.open.push(at);
                if let Some((_, shared)) = &self.target
                    && step.is_made()
                {
                    shared.make_directory(entry)?;
                }
                Ok(None)
            }
            EntryKind::File if step == Step::Make => Ok(Some(SnapshotFile {
                shared: self.target()?,
                entry: Arc::clone(entry),
                at,
                begun: None,
            })),
            _ => Ok(None),
        }
    }

    fn finish(
        mut self,
        entries: Vec<Arc<TreeEntry>>,
        hands: Vec<Hand>,
    ) -> Result<Ref, SourceError> {
        if let Some(before) = &self.before
            && before.same_filter
            && before.list.len() == entries.len()
            && self.steps.iter().all(|step| step.is_old())
        {
            (self.progress)(TransferProgress {
                bytes: 0,
                files: entries.len() as u64,
            });
            return Ok(before.snapshot.clone());
        }
        let shared = self.target()?;
        let Some((tree, _)) = self.target.take() else {
            return Err(SourceError::Internal("a snapshot was not begun".to_owned()));
        };
        let completion = Completion {
            shared,
            entries,
            steps: self.steps,
            before: self.before,
        };
        completion.make()?;
        if let Some(metadata) = &self.metadata {
            completion.write_listing(&metadata.listing)?;
        }
        let snapshot = tree.commit()?;
        completion.keep(&snapshot, hands, (&self.store, &self.keys))?;
        Ok(snapshot)
    }
}
