//! Trees from one end of a transfer to the other.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use kiln_protocol::fsutil::packet::PacketType;
use kiln_session::transfer::{
    Announced, Clash, DirectoryRequest, Link, NearbyDirectory, Others, OutgoingTree, Owners,
    RemoteDirectory as _, Sockets, StopFlag, TransferError, deliver, send,
};
use kiln_session::{Delivery, LentDirectory, Services};
use kiln_store::walk::{Filter, WalkRoot};
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use tempfile::TempDir;

use crate::pair::Pair;

/// `path kind mode mtime links [content or target]` of everything in a directory, sorted.
pub(crate) fn describe(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    walk(root, root, &mut lines);
    lines.sort();
    lines
}

fn walk(root: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("list") {
        let path = entry.expect("entry").path();
        let meta = fs::symlink_metadata(&path).expect("stat");
        let kind = meta.file_type();
        let content = match () {
            () if kind.is_symlink() => format!("-> {:?}", fs::read_link(&path).expect("link")),
            () if kind.is_file() => format!("{:?}", fs::read(&path).expect("read").as_slice()),
            () => format!("{:?}", FileType::from_raw_mode(meta.mode())),
        };
        let links = if kind.is_dir() { 0 } else { meta.nlink() };
        let rdev = if kind.is_file() || kind.is_dir() {
            0
        } else {
            meta.rdev()
        };
        lines.push(format!(
            "{:?} {:o} {}.{} {links} {rdev} {content}",
            path.strip_prefix(root).expect("inside"),
            meta.mode(),
            meta.mtime(),
            meta.mtime_nsec(),
        ));
        if kind.is_dir() {
            walk(root, &path, lines);
        }
    }
}

/// Everything that is in a directory.
fn everything(path: &Path, stop: &StopFlag) -> Result<OutgoingTree, TransferError> {
    let announced = Announced {
        owners: Owners::Kept,
        mtime: None,
        sockets: Sockets::LeftOut,
    };
    let root = WalkRoot::open(path).expect("directory");
    OutgoingTree::scan(root, &Filter::default(), announced, stop)
}

/// Sends what `make` finds into `to`; also says how many files were asked for.
async fn transfer(
    make: impl FnOnce(&StopFlag) -> Result<OutgoingTree, TransferError> + Send + 'static,
    to: &Path,
    others: Others,
) -> (Result<(), TransferError>, usize) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let link = Link::through(move |outbound| {
        let counted = outbound.inspect(move |packet| {
            if packet
                .as_ref()
                .is_ok_and(|it| it.r#type() == PacketType::PacketReq)
            {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (there, answers) = Link::new(counted);
        tokio::spawn(send(there, make, Arc::new(|_| {})));
        answers
    });
    let outcome = deliver(link, to.to_owned(), others).await;
    (outcome, requests.load(Ordering::Relaxed))
}

async fn copy(from: &Path, to: &Path, others: Others) -> usize {
    let from = from.to_owned();
    let (outcome, requests) = transfer(move |stop| everything(&from, stop), to, others).await;
    outcome.expect("transfer");
    requests
}

/// A time with a fraction of a second.
fn fine_time(path: &Path, second: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(second, 123_456_789);
    let file = fs::File::open(path).expect("open");
    file.set_times(fs::FileTimes::new().set_modified(time))
        .expect("times");
}

fn directories() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().expect("directory");
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).expect("directory");
    (dir, from, to)
}

fn write(root: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("parent")).expect("directory");
    fs::write(path, content).expect("write");
}

#[tokio::test]
async fn all_kinds_of_files_arrive_as_they_are() {
    let (_dir, from, to) = directories();
    write(&from, "a", "1");
    write(&from, "dir/deep/b", vec![7_u8; 3 << 20]);
    write(&from, "dir/empty", "");
    write(&from, "dir.txt", "sorts after what is in dir");
    fs::create_dir(from.join("nothing")).expect("directory");
    fs::hard_link(from.join("a"), from.join("dir/also-a")).expect("link");
    symlink("../outside", from.join("dir/link")).expect("link");
    symlink("/etc/passwd", from.join("absolute")).expect("link");
    let odd = std::ffi::OsStr::from_bytes(b"no\xfftext");
    fs::write(from.join(odd), "odd").expect("write");
    let (fifo, null) = (from.join("fifo"), from.join("null"));
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("fifo");
    let number = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(CWD, &null, FileType::CharacterDevice, Mode::RUSR, number).expect("device");
    rustix::fs::setxattr(from.join("dir"), "user.dir", b"x", XattrFlags::empty()).expect("xattr");
    rustix::fs::setxattr(from.join("a"), "user.a", b"\0y", XattrFlags::empty()).expect("xattr");
    let mode = |name: &str, mode| {
        fs::set_permissions(from.join(name), fs::Permissions::from_mode(mode)).expect("mode");
    };
    mode("a", 0o4711);
    mode("dir/empty", 0o400);
    mode("dir/deep", 0o2555);
    mode("nothing", 0o1777);
    for name in ["a", "dir/deep", "dir", "nothing"] {
        fine_time(&from.join(name), 1_000_000_000);
    }
    copy(&from, &to, Others::Keep).await;
    assert_eq!(describe(&to), describe(&from));
    let mut value = [0; 8];
    assert_eq!(
        rustix::fs::getxattr(to.join("dir"), "user.dir", &mut value[..]),
        Ok(1)
    );
    assert_eq!(
        rustix::fs::getxattr(to.join("a"), "user.a", &mut value[..]),
        Ok(2)
    );
    let inode = |name: &str| fs::metadata(to.join(name)).expect("stat").ino();
    assert_eq!(inode("a"), inode("dir/also-a"));
}

#[tokio::test]
async fn what_is_there_is_not_asked_for() {
    let (_dir, from, to) = directories();
    for number in 0..300 {
        write(
            &from,
            &format!("d{}/f{number}", number % 7),
            format!("{number}"),
        );
        fine_time(&from.join(format!("d{}/f{number}", number % 7)), number);
    }
    write(&from, "empty", "");
    assert_eq!(copy(&from, &to, Others::Keep).await, 300);
    assert_eq!(copy(&from, &to, Others::Keep).await, 0);
    write(&from, "d1/f1", "new");
    fs::set_permissions(from.join("d2/f2"), fs::Permissions::from_mode(0o755)).expect("mode");
    assert_eq!(copy(&from, &to, Others::Keep).await, 1);
    assert_eq!(describe(&to), describe(&from));
}

#[tokio::test]
async fn equal_times_of_whole_seconds_prove_nothing() {
    let (_dir, from, to) = directories();
    let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
    for content in ["one", "two"] {
        write(&from, "file", content);
        let file = fs::File::open(from.join("file")).expect("open");
        file.set_times(fs::FileTimes::new().set_modified(epoch))
            .expect("times");
        assert_eq!(copy(&from, &to, Others::Keep).await, 1);
        assert_eq!(fs::read_to_string(to.join("file")).expect("read"), content);
    }
}

#[tokio::test]
async fn others_stay_or_go() {
    let (dir, from, to) = directories();
    write(&from, "dir/kept", "1");
    write(&to, "dir/other", "2");
    write(&to, "more/others", "3");
    fs::create_dir(dir.path().join("outside")).expect("directory");
    write(&dir.path().join("outside"), "safe", "4");
    symlink("../outside", to.join("way-out")).expect("link");
    copy(&from, &to, Others::Keep).await;
    assert!(to.join("dir/other").exists() && to.join("more/others").exists());
    copy(&from, &to, Others::Remove).await;
    assert_eq!(describe(&to), describe(&from));
    assert!(dir.path().join("outside/safe").exists());
}

#[tokio::test]
async fn links_in_the_destination_lead_nowhere() {
    let (dir, from, to) = directories();
    write(&from, "dir/file", "new");
    write(&from, "file", "new");
    write(&from, "was-directory", "new");
    symlink("target", from.join("link")).expect("link");
    let outside = dir.path().join("outside");
    write(&outside, "file", "old");
    write(&to, "was-directory/full", "old");
    symlink(&outside, to.join("dir")).expect("link");
    symlink(outside.join("file"), to.join("file")).expect("link");
    fs::create_dir_all(to.join("link/full")).expect("directory");
    copy(&from, &to, Others::Keep).await;
    assert_eq!(describe(&to), describe(&from));
    assert_eq!(
        fs::read_to_string(outside.join("file")).expect("read"),
        "old"
    );
    assert_eq!(fs::read_dir(&outside).expect("list").count(), 1);
}

#[tokio::test]
async fn files_that_change_are_whole_or_an_error() {
    let (_dir, from, to) = directories();
    write(&from, "log", "line\n");
    let path = from.clone();
    let grow = move |stop: &StopFlag| {
        let tree = everything(&path, stop);
        fs::write(path.join("log"), "line\nand more\n").expect("write");
        tree
    };
    let (outcome, _) = transfer(grow, &to, Others::Keep).await;
    outcome.expect("it only grew");
    assert_eq!(
        fs::read_to_string(to.join("log")).expect("read"),
        "line\nand more\n"
    );

    let path = from.clone();
    let shrink = move |stop: &StopFlag| {
        let tree = everything(&path, stop);
        fs::write(path.join("log"), "li").expect("write");
        tree
    };
    let (outcome, _) = transfer(shrink, &to, Others::Keep).await;
    let error = outcome.expect_err("it is not what was announced");
    assert!(
        matches!(
            &error,
            TransferError::Torn {
                received: 2,
                announced: 14,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(
        fs::read_to_string(to.join("log")).expect("read"),
        "line\nand more\n"
    );

    let path = from.clone();
    let vanish = move |stop: &StopFlag| {
        let tree = everything(&path, stop);
        fs::remove_file(path.join("log")).expect("remove");
        tree
    };
    let (outcome, _) = transfer(vanish, &to, Others::Keep).await;
    let error = outcome.expect_err("it is gone").to_string();
    assert!(error.contains("cannot open log"), "{error}");
    assert_eq!(fs::read_dir(&to).expect("list").count(), 1);
}

#[tokio::test]
async fn trees_are_joined() {
    let (dir, from, to) = directories();
    let other = dir.path().join("other");
    write(&from, "dir/a", "1");
    write(&other, "dir/b", "2");
    write(&other, "c", "3");
    let both = |stop: &StopFlag| {
        let trees = [&from, &other].map(|path| everything(path, stop).expect("tree"));
        OutgoingTree::join(trees.into())
    };
    let joined = both(&StopFlag::default()).expect("they fit");
    let (outcome, _) = transfer(move |_| Ok(joined), &to, Others::Keep).await;
    outcome.expect("transfer");
    for (name, content) in [("dir/a", "1"), ("dir/b", "2"), ("c", "3")] {
        assert_eq!(fs::read_to_string(to.join(name)).expect("read"), content);
    }
    write(&from, "c", "4");
    let clash = both(&StopFlag::default()).expect_err("c is in both");
    assert_eq!(
        clash,
        Clash {
            path: b"c".to_vec(),
            trees: (0, 1)
        }
    );
}

#[tokio::test]
async fn a_session_lends_directories() {
    let (_dir, from, to) = directories();
    for name in [
        "a.txt",
        "b.log",
        "dir/ä",
        "dir/c.txt",
        "linked/x",
        "unwanted/y",
    ] {
        write(&from, name, name);
    }
    symlink("../linked", from.join("dir/to")).expect("link");
    let pair = Pair::new(Services {
        directories: [("context".to_owned(), from.clone())].into(),
        ..Services::default()
    })
    .await;
    let files = pair.remote.session().files;
    let directory = |name| {
        let files = Arc::clone(&files);
        async move {
            match files.directory(name).await.expect("directory") {
                LentDirectory::Remote(directory) => directory,
                LentDirectory::Here(_) => panic!("the client is elsewhere"),
            }
        }
    };
    let lists = |list: &[&str]| Some(list.iter().map(ToString::to_string).collect());
    let cases: [(DirectoryRequest, &[&str]); 4] = [
        (
            DirectoryRequest {
                exclude: lists(&["**/*.txt", "unwanted", "linked"]),
                ..DirectoryRequest::default()
            },
            &["b.log", "dir/to", "dir/ä"],
        ),
        (
            DirectoryRequest {
                include: lists(&["dir/ä", "*.log"]),
                ..DirectoryRequest::default()
            },
            &["b.log", "dir/ä"],
        ),
        (
            DirectoryRequest {
                follow: lists(&["dir/to", "a.txt"]),
                ..DirectoryRequest::default()
            },
            &["a.txt", "dir/to", "linked/x"],
        ),
        (
            DirectoryRequest {
                include: lists(&["missing"]),
                ..DirectoryRequest::default()
            },
            &[],
        ),
    ];
    for (request, expected) in cases {
        let link = directory("context")
            .await
            .open(&request)
            .await
            .expect("link");
        deliver(link, to.clone(), Others::Remove)
            .await
            .expect("transfer");
        let mut found = leaves(&to);
        found.sort();
        assert_eq!(found, expected, "{request:?}");
        let nearby = NearbyDirectory(from.clone());
        let link = nearby.open(&request).await.expect("link");
        let again = to.with_extension("nearby");
        deliver(link, again.clone(), Others::Remove)
            .await
            .expect("transfer");
        assert_eq!(describe(&again), describe(&to), "{request:?}");
    }
    let link = directory("secrets")
        .await
        .open(&DirectoryRequest::default())
        .await;
    let refused = deliver(link.expect("link"), to.clone(), Others::Keep).await;
    let error = refused.expect_err("it is not lent");
    assert!(
        matches!(&error, TransferError::Call(status) if status.code() == tonic::Code::NotFound),
        "{error}"
    );
    assert_eq!(error.to_string(), "no access allowed to dir \"secrets\"");
}

/// Paths of everything that is no directory.
fn leaves(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).expect("list") {
            let entry = entry.expect("entry");
            match entry.file_type().expect("type").is_dir() {
                true => waiting.push(entry.path()),
                false => {
                    let path = entry.path();
                    let path = path.strip_prefix(root).expect("inside");
                    found.push(path.to_string_lossy().into_owned());
                }
            }
        }
    }
    found
}

#[tokio::test]
async fn a_session_takes_results() {
    let (dir, from, to) = directories();
    for number in 0..500 {
        write(
            &from,
            &format!("d{}/f{number}", number % 11),
            vec![number as u8; number * 37],
        );
    }
    let mirror = dir.path().join("mirror");
    for directory in [&to, &mirror] {
        write(directory, "other", "1");
    }
    let pair = Pair::new(Services {
        exports: [
            (0, Delivery::Directory(to.clone())),
            (2, Delivery::Mirror(mirror.clone())),
        ]
        .into(),
        ..Services::default()
    })
    .await;
    for (exporter, others) in [(0, Others::Keep), (2, Others::Remove)] {
        let target = pair.remote.directory_target(exporter).expect("target");
        let link = target.open(others).await.expect("link");
        let from = from.clone();
        let sent = send(link, move |stop| everything(&from, stop), Arc::new(|_| {}));
        sent.await.expect("transfer");
    }
    assert_eq!(describe(&mirror), describe(&from));
    assert_eq!(leaves(&to).len(), 501);
    // A daemon that does not know of whole results would leave out what others sent.
    let target = pair.remote.directory_target(2).expect("target");
    let link = target.open(Others::Keep).await.expect("link");
    let path = from.clone();
    let sent = send(link, move |stop| everything(&path, stop), Arc::new(|_| {}));
    let error = sent.await.expect_err("the client refuses").to_string();
    assert!(error.contains("mode=delete requires"), "{error}");
    let target = pair.remote.directory_target(1).expect("target");
    let link = target.open(Others::Keep).await.expect("link");
    let sent = send(link, move |stop| everything(&from, stop), Arc::new(|_| {}));
    let error = sent.await.expect_err("there is no such output").to_string();
    assert_eq!(error, "exporter 1 not found");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_transfer() {
    let (_dir, from, to) = directories();
    write(&from, "file", "1");
    let pair = Pair::new(Services {
        directories: [("context".to_owned(), from)].into(),
        ..Services::default()
    })
    .await;
    let directory = pair.remote.session().files.directory("context").await;
    let LentDirectory::Remote(directory) = directory.expect("directory") else {
        panic!("the client is elsewhere");
    };
    drop(pair.client);
    pair.remote.closed().await;
    let link = directory
        .open(&DirectoryRequest::default())
        .await
        .expect("link");
    let outcome = deliver(link, to.clone(), Others::Keep).await;
    outcome.expect_err("nobody is there");
    assert_eq!(leaves(&to), [""; 0]);
}
