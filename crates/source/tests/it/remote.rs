//! Snapshots of directories that a client elsewhere sends.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use kiln_session::transfer::{
    Announced, DirectoryRequest, EntryKind, Link, OutgoingTree, Owners, RemoteDirectory, Sockets,
    StopFlag, TreeEntry, send,
};
use kiln_source::{Differ, LocalIdentifier, LocalSource, SourceError};
use kiln_store::Ref;
use kiln_store::checksum::{ChecksumOptions, Checksums};
use kiln_store::tree::Root;
use kiln_store::walk::{Filter, WalkRoot};
use kiln_testkit::rootfs;
use rustix::fs::XattrFlags;

use crate::tree::{describe, of, paths};
use crate::{Fixture, context, quiet};

/// A client that counts what it is asked for.
struct Client {
    path: PathBuf,
    shared_key: String,
    /// Packets that came: the requests and the last word.
    packets: Arc<AtomicUsize>,
    /// Done once between the list and the first file.
    interfere: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Client {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            shared_key: "key".to_owned(),
            packets: Arc::default(),
            interfere: Mutex::default(),
        }
    }

    /// Files asked for since this was asked last.
    fn requests(&self) -> usize {
        self.packets.swap(0, Ordering::Relaxed) - 1
    }
}

#[async_trait::async_trait]
impl RemoteDirectory for Client {
    fn shared_key(&self) -> &str {
        &self.shared_key
    }

    async fn open(&self, request: &DirectoryRequest) -> Result<Link, tonic::Status> {
        let (path, request) = (self.path.clone(), request.clone());
        let packets = Arc::clone(&self.packets);
        let interfere = self.interfere.lock().expect("lock").take();
        Ok(Link::through(move |outbound| {
            let counted = outbound.inspect(move |_| {
                packets.fetch_add(1, Ordering::Relaxed);
            });
            let (there, answers) = Link::new(counted);
            let make = move |stop: &StopFlag| {
                let announced = Announced {
                    owners: Owners::Root,
                    mtime: None,
                    sockets: Sockets::EmptyFiles,
                };
                let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
                let filter = Filter::new(&list(&request.include), None, &list(&request.exclude))?;
                let root = WalkRoot::open(&path).expect("directory");
                let tree = OutgoingTree::scan(root, &filter, announced, stop);
                interfere.into_iter().for_each(|interfere| interfere());
                tree
            };
            tokio::spawn(send(there, make, Arc::new(|_| {})));
            answers
        }))
    }
}

async fn snapshot(
    fixture: &Fixture,
    client: &Client,
    identifier: &LocalIdentifier,
) -> Result<Ref, SourceError> {
    LocalSource::new(fixture.store.clone())
        .snapshot_remote(identifier, client, quiet())
        .await
}

fn small(fixture: &Fixture) -> PathBuf {
    let source = fixture.directory("source");
    let files = [
        ("a", "1"),
        ("dir/b", "22"),
        ("dir/deep/c", "333"),
        ("z", ""),
    ];
    rootfs::files(&source, &files).expect("files");
    fs::hard_link(source.join("dir/b"), source.join("also-b")).expect("link");
    symlink("b", source.join("dir/link")).expect("link");
    rustix::fs::setxattr(source.join("a"), "user.x", b"y", XattrFlags::empty()).expect("xattr");
    source
}

fn checksum(snapshot: &Ref) -> String {
    let kept = snapshot.value("checksums").expect("store").expect("kept");
    let mut checksums = Checksums::from_bytes(&kept).expect("checksums");
    let root = Root::open(&of(snapshot)).expect("root");
    let digest = checksums.checksum(&root, "/", &ChecksumOptions::default());
    digest.expect("checksum").to_string()
}

fn inode(path: impl AsRef<Path>) -> u64 {
    fs::symlink_metadata(path).expect("stat").ino()
}

#[tokio::test]
async fn it_is_what_a_direct_snapshot_is() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let client = Client::new(&source);
    let sent = snapshot(&fixture, &client, &context())
        .await
        .expect("snapshot");
    assert_eq!(
        client.requests(),
        3,
        "an empty file and a link need not be asked for"
    );
    let direct = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    assert_eq!(describe(&of(&sent)), describe(&of(&direct)));
    assert_eq!(checksum(&sent), checksum(&direct));
    assert_eq!(
        inode(of(&sent).join("also-b")),
        inode(of(&sent).join("dir/b"))
    );
}

#[tokio::test]
async fn only_what_changed_is_sent_again() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let client = Client::new(&source);
    let first = snapshot(&fixture, &client, &context())
        .await
        .expect("snapshot");
    client.requests();
    let same = snapshot(&fixture, &client, &context())
        .await
        .expect("snapshot");
    assert_eq!((same.id(), client.requests()), (first.id(), 0));

    fs::write(source.join("a"), "changed").expect("write");
    fs::remove_file(source.join("z")).expect("remove");
    let second = snapshot(&fixture, &client, &context())
        .await
        .expect("snapshot");
    assert_eq!(client.requests(), 1);
    assert_eq!(describe(&of(&second)), describe(&source));
    let file = "dir/deep/c";
    assert_eq!(inode(of(&second).join(file)), inode(of(&first).join(file)));
    let direct = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    assert_eq!(checksum(&second), checksum(&direct));
    // The first one is as it was.
    assert_eq!(fs::read_to_string(of(&first).join("a")).expect("read"), "1");

    // A file with two names.
    fs::write(source.join("also-b"), "3333").expect("write");
    let third = snapshot(&fixture, &client, &context())
        .await
        .expect("snapshot");
    assert_eq!(client.requests(), 1);
    let direct = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    assert_eq!(checksum(&third), checksum(&direct));
}

#[tokio::test]
async fn another_filter_takes_files_from_the_snapshot_before() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let client = Client::new(&source);
    let all = snapshot(&fixture, &client, &context())
        .await
        .expect("snapshot");
    client.requests();
    let fewer = LocalIdentifier {
        exclude: Some(vec!["dir/deep".into(), "z".into()]),
        ..context()
    };
    let part = snapshot(&fixture, &client, &fewer).await.expect("snapshot");
    assert_eq!(client.requests(), 0);
    assert_eq!(paths(&part), ["a", "also-b", "dir", "dir/b", "dir/link"]);
    // Either is found again by its own filter.
    for (identifier, expected) in [(context(), &all), (fewer, &part)] {
        let again = snapshot(&fixture, &client, &identifier)
            .await
            .expect("snapshot");
        assert_eq!((again.id(), client.requests()), (expected.id(), 0));
    }
}

#[tokio::test]
async fn without_comparing_everything_is_sent() {
    let fixture = Fixture::new();
    let client = Client::new(&small(&fixture));
    let identifier = LocalIdentifier {
        differ: Differ::None,
        ..context()
    };
    let mut ids = Vec::new();
    for _ in 0..2 {
        let made = snapshot(&fixture, &client, &identifier)
            .await
            .expect("snapshot");
        assert_eq!(client.requests(), 3);
        ids.push(made.id().to_owned());
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn other_clients_and_uses_have_snapshots_of_their_own() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let client = Client::new(&source);
    let elsewhere = Client {
        shared_key: "elsewhere".to_owned(),
        ..Client::new(&source)
    };
    let hinted = LocalIdentifier {
        shared_key_hint: "hint".into(),
        ..context()
    };
    for (client, identifier) in [
        (&client, context()),
        (&elsewhere, context()),
        (&client, hinted),
    ] {
        snapshot(&fixture, client, &identifier)
            .await
            .expect("snapshot");
        assert_eq!(client.requests(), 3);
    }
}

#[tokio::test]
async fn a_file_that_grew_is_sent_again_next_time() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let client = Client::new(&source);
    let log = source.join("a");
    let old = fs::metadata(&log).expect("stat").modified().expect("time");
    *client.interfere.lock().expect("lock") = Some(Box::new(move || {
        fs::write(&log, "1 and more").expect("write");
    }));
    let grown = snapshot(&fixture, &client, &context())
        .await
        .expect("snapshot");
    assert_eq!(
        fs::read_to_string(of(&grown).join("a")).expect("read"),
        "1 and more"
    );
    client.requests();
    // What is said of it is as before, but that was not what came.
    fs::write(source.join("a"), "2").expect("write");
    let file = fs::File::open(source.join("a")).expect("open");
    file.set_times(fs::FileTimes::new().set_modified(old))
        .expect("times");
    let next = snapshot(&fixture, &client, &context())
        .await
        .expect("snapshot");
    assert_eq!(client.requests(), 1);
    assert_eq!(fs::read_to_string(of(&next).join("a")).expect("read"), "2");
}

#[tokio::test]
async fn a_file_that_shrank_is_tried_again() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let client = Client::new(&source);
    let file = source.join("dir/deep/c");
    *client.interfere.lock().expect("lock") = Some(Box::new(move || {
        fs::write(&file, "3").expect("write");
    }));
    let made = snapshot(&fixture, &client, &context())
        .await
        .expect("snapshot");
    assert_eq!(describe(&of(&made)), describe(&source));
}

#[tokio::test]
async fn metadata_alone() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    fs::write(source.join(".fsutil-metadata"), "not taken").expect("write");
    let client = Client::new(&source);
    let identifier = LocalIdentifier {
        metadata_only: true,
        metadata_exceptions: Some(vec!["dir/deep".into(), "a".into()]),
        ..context()
    };
    let made = snapshot(&fixture, &client, &identifier)
        .await
        .expect("snapshot");
    assert_eq!(client.requests(), 2);
    let direct = fixture
        .snapshot(&source, &identifier)
        .await
        .expect("snapshot");
    for tree in [of(&made), of(&direct)] {
        let found = describe(&tree);
        let found: Vec<&str> = found
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        let expected = [".fsutil-metadata", "a", "dir", "dir/deep", "dir/deep/c"];
        assert_eq!(found, expected);
        assert_eq!(
            fs::read_to_string(tree.join("dir/deep/c")).expect("read"),
            "333"
        );
        let listing = fs::read(tree.join(".fsutil-metadata")).expect("read");
        let expected = [
            "a",
            "also-b",
            "dir",
            "dir/b",
            "dir/deep",
            "dir/deep/c",
            "dir/link",
            "z",
        ];
        let listed = listed(&listing);
        let paths = listed
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.path));
        assert_eq!(paths.collect::<Vec<_>>(), expected);
        let link = &listed[3];
        assert_eq!(link.kind, EntryKind::Link(b"also-b".to_vec()));
        assert_eq!(link.size, 2, "as every name of the file");
    }
    let again = snapshot(&fixture, &client, &identifier)
        .await
        .expect("snapshot");
    assert_eq!((again.id(), client.requests()), (made.id(), 0));
    // A change of a file without content is a change of the list.
    let file = fs::File::open(source.join("z")).expect("open");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    file.set_times(fs::FileTimes::new().set_modified(time))
        .expect("times");
    let changed = snapshot(&fixture, &client, &identifier)
        .await
        .expect("snapshot");
    assert_ne!(changed.id(), again.id());
    assert_eq!(client.requests(), 0);
    assert_eq!(paths(&changed), paths(&made));
}

/// The entries of a list of announcements: each has its length in front.
fn listed(mut listing: &[u8]) -> Vec<TreeEntry> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = listing.split_first_chunk::<4>() {
        let (announcement, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        entries.push(TreeEntry::from_bytes(announcement).expect("an entry"));
        listing = rest;
    }
    assert!(listing.is_empty());
    entries
}
