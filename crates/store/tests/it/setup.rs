//! Stores in temporary directories, and trees made step by step.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use kiln_store::gc::{PruneOptions, UsageOptions, UsageRecord};
use kiln_store::refs::{Fetch, FetchError, FetchStream, LazyLayer};
use kiln_store::tar::{Header, Writer};
use kiln_store::{MutableOptions, RecordType, Ref, Store, StoreOptions};
use oci_spec::image::{Descriptor, Digest, MediaType};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A store of its own.
pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) store: Store,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests mount file systems: run them as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        Rig { dir, store }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// A tree on top of `parent`, as `change` leaves it.
    pub(crate) fn layer(&self, parent: Option<&Ref>, change: impl FnOnce(&Path)) -> Ref {
        layer(&self.store, parent, change)
    }

    pub(crate) fn usage(&self) -> Vec<UsageRecord> {
        self.store.disk_usage(&UsageOptions::default()).unwrap()
    }

    pub(crate) fn prune(&self, options: &PruneOptions) -> Vec<UsageRecord> {
        let mut removed = Vec::new();
        self.store
            .prune(options, &mut |record| {
                removed.push(record);
                true
            })
            .unwrap();
        removed
    }

    pub(crate) fn prune_all(&self) -> Vec<UsageRecord> {
        self.prune(&PruneOptions {
            all: true,
            ..PruneOptions::default()
        })
    }

    /// The directories of trees.
    pub(crate) fn snapshots(&self) -> usize {
        fs::read_dir(self.root().join("snapshots")).unwrap().count()
    }
}

pub(crate) fn open(root: &Path) -> Store {
    Store::open(StoreOptions {
        root: root.to_owned(),
    })
    .unwrap()
}

pub(crate) fn options(description: &str) -> MutableOptions {
    MutableOptions {
        description: description.to_owned(),
        ..MutableOptions::default()
    }
}

pub(crate) fn layer(store: &Store, parent: Option<&Ref>, change: impl FnOnce(&Path)) -> Ref {
    let made = store.mutable(parent, options("test layer")).unwrap();
    {
        let tree = store.mount(&made.mounts().unwrap()).unwrap();
        change(tree.path());
    }
    made.commit().unwrap()
}

pub(crate) fn write(tree: &Path, path: &str, content: &str) {
    let path = tree.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The files of a ref: path to content, link target or kind.
pub(crate) fn files(store: &Store, tree: &Ref) -> BTreeMap<String, String> {
    let mounted = store.mount(&tree.mounts().unwrap()).unwrap();
    files_of(mounted.path())
}

pub(crate) fn files_of(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            let full = root.join(&path);
            let metadata = fs::symlink_metadata(&full).unwrap();
            let kind = metadata.file_type();
            let text = if kind.is_dir() {
                pending.push(path.clone());
                "dir".to_owned()
            } else if kind.is_symlink() {
                format!("-> {}", fs::read_link(&full).unwrap().display())
            } else if kind.is_file() {
                fs::read_to_string(&full).unwrap()
            } else if kind.is_fifo() {
                "fifo".to_owned()
            } else if kind.is_socket() {
                "socket".to_owned()
            } else {
                format!("device {:#x}", metadata.rdev())
            };
            found.insert(path.to_string_lossy().into_owned(), text);
        }
    }
    found
}

pub(crate) fn expect(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect()
}

/// A layer's blob, and how often it was fetched.
pub(crate) struct Blob {
    pub(crate) bytes: Vec<u8>,
    pub(crate) descriptor: Descriptor,
    pub(crate) diff_id: Digest,
}

impl Blob {
    /// A gzip layer with these files, `None` for a directory.
    pub(crate) fn new(files: &[(&str, Option<&str>)]) -> Blob {
        let mut tar = Writer::new(Vec::new());
        for (name, content) in files {
            match content {
                Some(content) => {
                    let header = Header::file(*name, content.len() as u64, 0o644);
                    tar.entry(&header, content.as_bytes()).unwrap();
                }
                None => tar.header(&Header::directory(*name, 0o755)).unwrap(),
            }
        }
        let tar = tar.finish().unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&tar).unwrap();
        let bytes = gzip.finish().unwrap();
        let descriptor = Descriptor::new(
            MediaType::ImageLayerGzip,
            bytes.len() as u64,
            digest_of(&bytes),
        );
        Blob {
            bytes,
            descriptor,
            diff_id: digest_of(&tar),
        }
    }

    pub(crate) fn lazy(&self, fetch: Arc<dyn Fetch>) -> LazyLayer {
        LazyLayer {
            descriptor: self.descriptor.clone(),
            diff_id: self.diff_id.clone(),
            fetch,
            description: "pulled from a test".to_owned(),
            record_type: RecordType::Regular,
            created: None,
        }
    }
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
        .parse()
        .unwrap()
}

/// A source of blobs.
pub(crate) struct Source {
    store: Store,
    bytes: Vec<u8>,
    way: Way,
    pub(crate) fetched: AtomicUsize,
    pub(crate) streamed: AtomicUsize,
}

/// How a source hands out its blob.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Fetch,
    Stream,
    /// The stream ends in the middle.
    BrokenStream,
}

impl Source {
    pub(crate) fn new(store: &Store, bytes: &[u8], way: Way) -> Arc<Source> {
        let (fetched, streamed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Source {
            store: store.clone(),
            bytes: bytes.to_owned(),
            way,
            fetched,
            streamed,
        })
    }
}

#[async_trait]
impl Fetch for Source {
    async fn fetch(&self, descriptor: &Descriptor) -> Result<(), FetchError> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let expected = Some((descriptor.digest(), Some(descriptor.size())));
        let mut writer = self.store.content().writer(expected)?;
        writer.write_all(&self.bytes)?;
        writer.commit()?;
        Ok(())
    }

    async fn stream(&self, _: &Descriptor) -> Result<Option<FetchStream>, FetchError> {
        self.streamed.fetch_add(1, Ordering::SeqCst);
        let bytes = self.bytes.clone();
        Ok(match self.way {
            Way::Fetch => None,
            Way::Stream => Some(Box::new(std::io::Cursor::new(bytes))),
            Way::BrokenStream => Some(Box::new(std::io::Cursor::new(
                bytes[..bytes.len() / 2].to_vec(),
            ))),
        })
    }
}

/// All mounts of this machine below a directory.
pub(crate) fn mounts_below(root: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table
        .lines()
        .filter(|line| line.contains(root.to_str().unwrap()))
        .map(str::to_owned)
        .collect()
}

/// The names of an inode.
pub(crate) fn links(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().nlink()
}
