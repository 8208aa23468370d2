//! Snapshots of local directories.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_session::transfer::{NearbyDirectory, RemoteDirectory};
use kiln_store::checksum::{Checksums, RootHeader};
use kiln_store::walk::{
    Entry, Filter, Kind, ScanError, Time, Walk, WalkRoot, follow, scan, walk_order, xattr,
};
use kiln_store::{MutableOptions, RecordType, Ref, Store};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::content::stamp_of;
use super::identifier::{Differ, LocalIdentifier};
use super::index::{Index, Indexed, Trust};
use super::plan::{Compare, Step, join_names, plan};
use super::remote;
use super::write::{Made, Work, Writer};
use crate::attribute::{go_json, sha256};
use crate::error::SourceError;

/// Names of the values kept with a snapshot. The second is where the engine keeps the
/// checksums of every ref.
const INDEX: &str = "local.index";
pub(super) const CHECKSUMS: &str = "checksums";

/// How far a transfer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransferProgress {
    /// Bytes of content copied.
    pub bytes: u64,
    /// Files, directories and others done.
    pub files: u64,
}

/// Told how far a transfer has come, from any thread and often.
pub type LocalProgress = Arc<dyn Fn(TransferProgress) + Send + Sync>;

/// Gives directories of this machine. Cheap to clone.
#[derive(Clone)]
pub struct LocalSource {
    store: Store,
}

impl LocalSource {
    /// Snapshots are kept in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// A snapshot of `directory` as the identifier filters it.
    ///
    /// `shared_key` names the client's side of the transfer. A snapshot made before under
    /// the same key is what this one is compared to: if nothing changed, it is returned
    /// itself; otherwise unchanged files are hard links into it. Owners are root in the
    /// snapshot. Dropping the future stops the work.
    pub async fn snapshot(
        &self,
        identifier: &LocalIdentifier,
        directory: &Path,
        shared_key: &str,
        progress: LocalProgress,
    ) -> Result<Ref, SourceError> {
        if identifier.metadata_only {
            let nearby = NearbyDirectory(directory.to_owned());
            let terms = remote::Terms {
                store: &self.store,
                identifier,
                shared_key,
                progress: &progress,
            };
            return remote::snapshot(&terms, &nearby).await;
        }
        let stop = StopOnDrop(Arc::default());
        let transfer = Transfer {
            store: self.store.clone(),
            identifier: identifier.clone(),
            directory: directory.to_owned(),
            shared_key: shared_key.to_owned(),
            progress,
            stop: Arc::clone(&stop.0),
        };
        match tokio::task::spawn_blocking(move || transfer.run()).await {
            Ok(outcome) => outcome,
            Err(error) => Err(SourceError::Internal(error.to_string())),
        }
    }

    /// The same of a directory that a client elsewhere sends. Only files are asked for that the
    /// snapshot before lacks, by what the client says of them. Owners are what the client says,
    /// which is root with every client of the field.
    pub async fn snapshot_remote(
        &self,
        identifier: &LocalIdentifier,
        directory: &dyn RemoteDirectory,
        progress: LocalProgress,
    ) -> Result<Ref, SourceError> {
        let terms = remote::Terms {
            store: &self.store,
            identifier,
            shared_key: &remote_key(identifier, directory),
            progress: &progress,
        };
        remote::snapshot(&terms, directory).await
    }
}

/// The key under which a client's snapshot is found again: what the source is, and where the
/// client says it comes from.
fn remote_key(identifier: &LocalIdentifier, directory: &dyn RemoteDirectory) -> String {
    format!(
        "{}:{}:{}",
        identifier.name,
        identifier.shared_key_hint,
        directory.shared_key()
    )
}

/// Tells the threads that nobody waits for them any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Transfer {
    store: Store,
    identifier: LocalIdentifier,
    directory: PathBuf,
    shared_key: String,
    progress: LocalProgress,
    stop: Arc<AtomicBool>,
}

/// What is in the directory now.
struct Found {
    root: WalkRoot,
    entries: Vec<Entry>,
    /// When we began to look.
    begin: Time,
}

/// A snapshot made before, to compare with.
struct Before {
    snapshot: Ref,
    tree: PathBuf,
    index: Index,
    filter: SameFilter,
}

/// Whether a snapshot was made with the same filter, so that it may be the result itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SameFilter {
    Yes,
    No,
}

impl Before {
    fn is_result(&self, steps: &[Step]) -> bool {
        self.filter == SameFilter::Yes
            && self.index.0.len() == steps.len()
            && steps.iter().all(|step| *step == Step::Keep)
    }
}

impl Transfer {
    fn run(&self) -> Result<Ref, SourceError> {
        let begin = now();
        let root = WalkRoot::open(&self.directory)
            .map_err(|error| self.read_error("open", self.directory.clone(), error))?;
        let id = &self.identifier;
        let filter = Filter::new(
            id.include.as_deref().unwrap_or_default(),
            self.followed(&root)?,
            id.exclude.as_deref().unwrap_or_default(),
        )?;
        let store = WalkRoot::open(self.store.root()).and_then(|root| stamp_of(root.fd()));
        let walk = Walk {
            filter: &filter,
            passed_by: store.ok().map(|stamp| (stamp.device, stamp.inode)),
            stop: &self.stop,
        };
        let entries = scan(&root, &walk).map_err(|error| self.scan_error(error))?;
        let found = Found {
            root,
            entries,
            begin,
        };
        let keys = self.keys()?;
        let before = self.before(&keys)?;
        let compare = match self.identifier.differ {
            Differ::Metadata => Compare::Stamps,
            Differ::None => Compare::Never,
        };
        let partners = match &before {
            Some(before) => before.index.align(&found.entries),
            None => vec![None; found.entries.len()],
        };
        let steps = plan(&found.entries, &partners, compare);
        if let Some(before) = before.as_ref().filter(|before| before.is_result(&steps)) {
            (self.progress)(TransferProgress {
                bytes: 0,
                files: steps.len() as u64,
            });
            return Ok(before.snapshot.clone());
        }
        let snapshot = self.write(&found, before.as_ref(), steps)?;
        for key in &keys {
            self.store.set_key(key, &snapshot)?;
        }
        Ok(snapshot)
    }

    /// Makes a new snapshot, unless a closer look shows that the one before will do.
    fn write(
        &self,
        found: &Found,
        before: Option<&Before>,
        mut steps: Vec<Step>,
    ) -> Result<Ref, SourceError> {
        let work = Work {
            root: &found.root,
            entries: &found.entries,
            name: &self.identifier.name,
            stop: &self.stop,
            progress: &self.progress,
        };
        let writer = Writer::new(work, before.map(|before| before.tree.as_path()));
        writer.check(&mut steps)?;
        join_names(&found.entries, &mut steps);
        if let Some(before) = before.filter(|before| before.is_result(&steps)) {
            let made = found
                .entries
                .iter()
                .map(|entry| Some(Made::of(&entry.stamp)));
            before
                .snapshot
                .set_value(INDEX, &index_of(found, made).to_bytes())?;
            return Ok(before.snapshot.clone());
        }
        let options = MutableOptions {
            description: format!("local source for {}", self.identifier.name),
            record_type: RecordType::SourceLocal,
            created: None,
        };
        let target = self.store.mutable(None, options)?;
        let tree = target.upper_dir().to_owned();
        let written = writer.write(&tree, &steps)?;
        let snapshot = target.commit()?;
        // Also what could not be taken over after all.
        for &at in &written.copied {
            steps[at] = Step::Make;
        }
        let inherited = before.map(|before| inherited(before, &found.entries, &steps, &tree));
        let mut checksums = inherited
            .transpose()?
            .flatten()
            .unwrap_or_else(|| Checksums::new(RootHeader::Ignored));
        for (at, hash) in written.hashes {
            if let Ok(path) = std::str::from_utf8(&found.entries[at].path) {
                checksums.insert(path, hash);
            }
        }
        snapshot.set_value(CHECKSUMS, &checksums.to_bytes())?;
        snapshot.set_value(INDEX, &index_of(found, written.made).to_bytes())?;
        Ok(snapshot)
    }

    /// The key of this very filter, and that of the last snapshot with any.
    fn keys(&self) -> Result<[String; 2], SourceError> {
        let id = &self.identifier;
        let filter = sha256(go_json(&(&id.include, &id.exclude, &id.follow))?.as_bytes());
        Ok([
            format!("local:{}:{filter}", self.shared_key),
            format!("local:{}", self.shared_key),
        ])
    }

    fn before(&self, keys: &[String; 2]) -> Result<Option<Before>, SourceError> {
        for (key, filter) in keys.iter().zip([SameFilter::Yes, SameFilter::No]) {
            let Some(snapshot) = self.store.ref_by_key(key)? else {
                continue;
            };
            let (Some(tree), Some(index)) = (snapshot.local_dir()?, snapshot.value(INDEX)?) else {
                continue;
            };
            if let Some(index) = Index::from_bytes(&index) {
                return Ok(Some(Before {
                    snapshot,
                    tree,
                    index,
                    filter,
                }));
            }
        }
        Ok(None)
    }

    fn followed(&self, root: &WalkRoot) -> Result<Option<Vec<String>>, SourceError> {
        let Some(paths) = &self.identifier.follow else {
            return Ok(None);
        };
        follow(root, paths)
            .map_err(|error| self.read_error("follow", PathBuf::from(paths.join(", ")), error))
    }

    fn scan_error(&self, error: ScanError) -> SourceError {
        if self.stop.load(Ordering::Relaxed) {
            return SourceError::Stopped {
                name: self.identifier.name.clone(),
            };
        }
        self.read_error(
            error.action,
            PathBuf::from(OsStr::from_bytes(&error.path)),
            error.error,
        )
    }

    fn read_error(&self, action: &'static str, path: PathBuf, error: Errno) -> SourceError {
        SourceError::Read {
            name: self.identifier.name.clone(),
            action,
            path,
            source: error.into(),
        }
    }
}

/// The checksums of what both snapshots have.
fn inherited(
    before: &Before,
    entries: &[Entry],
    steps: &[Step],
    tree: &Path,
) -> Result<Option<Checksums>, SourceError> {
    let Some(kept) = before.snapshot.value(CHECKSUMS)? else {
        return Ok(None);
    };
    let Ok(checksums) = Checksums::from_bytes(&kept) else {
        return Ok(None);
    };
    let mut changed: Vec<&[u8]> = Vec::new();
    let mut rest = before
        .index
        .0
        .iter()
        .map(|indexed| &indexed.entry)
        .peekable();
    for (entry, step) in entries.iter().zip(steps) {
        while let Some(gone) = rest.next_if(|old| walk_order(&old.path, &entry.path).is_lt()) {
            changed.push(&gone.path);
        }
        let old = rest.next_if(|old| old.path == entry.path);
        let is_same = *step == Step::Keep
            || old.is_some_and(|old| is_same_directory(old, entry, &before.tree, tree));
        if !is_same {
            changed.push(&entry.path);
        }
    }
    changed.extend(rest.map(|gone| gone.path.as_slice()));
    let paths: Result<Vec<&str>, _> = changed.into_iter().map(std::str::from_utf8).collect();
    // Names that are no text cannot be told to the checksums.
    Ok(paths.ok().map(|paths| checksums.derive(paths)))
}

/// Whether two directories differ in nothing that checksums cover, apart from what is in
/// them.
fn is_same_directory(old: &Entry, new: &Entry, old_tree: &Path, new_tree: &Path) -> bool {
    if old.stamp.kind != Kind::Directory
        || new.stamp.kind != Kind::Directory
        || old.stamp.mode != new.stamp.mode
    {
        return false;
    }
    let attributes =
        |tree: &Path| WalkRoot::open(tree).and_then(|root| xattr::read(root.directory(&new.path)?));
    matches!((attributes(old_tree), attributes(new_tree)), (Ok(a), Ok(b)) if a == b)
}

fn index_of(found: &Found, made: impl IntoIterator<Item = Option<Made>>) -> Index {
    let indexed = found.entries.iter().zip(made).filter_map(|(entry, made)| {
        let made = made?;
        // Only what was last changed before we began cannot have changed since without
        // showing it.
        let trust = if made.stamp.ctime < found.begin {
            made.trust
        } else {
            Trust::ReadAgain
        };
        Some(Indexed {
            entry: Entry {
                path: entry.path.clone(),
                stamp: made.stamp,
            },
            trust,
        })
    });
    Index(indexed.collect())
}

/// The clock that file systems take their times from.
fn now() -> Time {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    Time {
        seconds: now.tv_sec,
        nanos: now.tv_nsec as u32,
    }
}
