//! Snapshots of directories, and what is done again when something changes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use kiln_source::{Differ, LocalIdentifier, LocalSource, SourceError, TransferProgress};
use kiln_testkit::rootfs;
use rustix::fs::{FileType, Mode, XattrFlags};

use crate::tree::{describe, of, paths};
use crate::{Fixture, context};

fn age(path: &Path) {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
    let file = fs::File::open(path).expect("open");
    file.set_times(fs::FileTimes::new().set_modified(long_ago))
        .expect("times");
}

fn inode(path: impl AsRef<Path>) -> u64 {
    fs::symlink_metadata(path).expect("stat").ino()
}

fn small(fixture: &Fixture) -> std::path::PathBuf {
    let source = fixture.directory("source");
    rootfs::files(
        &source,
        &[
            ("a", "1"),
            ("dir/b", "22"),
            ("dir/deep/c", "333"),
            ("z", ""),
        ],
    )
    .expect("files");
    source
}

#[tokio::test]
async fn everything_but_the_owner_is_copied() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    fs::set_permissions(source.join("a"), PermissionsExt::from_mode(0o4711)).expect("mode");
    fs::set_permissions(source.join("dir/b"), PermissionsExt::from_mode(0o400)).expect("mode");
    symlink("../outside", source.join("dir/link")).expect("link");
    symlink("/etc/passwd", source.join("absolute")).expect("link");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        source.join("pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o644),
        0,
    )
    .expect("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        source.join("null"),
        FileType::CharacterDevice,
        Mode::RUSR,
        rustix::fs::makedev(1, 3),
    )
    .expect("device");
    std::os::unix::fs::chown(source.join("a"), Some(1000), Some(1000)).expect("chown");
    fs::set_permissions(source.join("a"), PermissionsExt::from_mode(0o4711)).expect("mode");
    rustix::fs::setxattr(source.join("dir"), "user.dir", b"x", XattrFlags::empty()).expect("xattr");
    rustix::fs::setxattr(source.join("z"), "user.file", b"\0y", XattrFlags::empty())
        .expect("xattr");
    fs::set_permissions(source.join("dir/deep"), PermissionsExt::from_mode(0o2555)).expect("mode");
    age(&source.join("dir/deep"));
    age(&source.join("z"));
    let expected: Vec<String> = describe(&source)
        .iter()
        .map(|line| line.replace(" 1000:1000 ", " 0:0 "))
        .collect();
    let snapshot = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    assert_eq!(describe(&of(&snapshot)), expected);
    let mut value = [0_u8; 8];
    assert_eq!(
        rustix::fs::getxattr(of(&snapshot).join("dir"), "user.dir", &mut value[..]),
        Ok(1)
    );
    assert_eq!(
        rustix::fs::getxattr(of(&snapshot).join("z"), "user.file", &mut value[..]),
        Ok(2)
    );
    assert_eq!(&value[..2], b"\0y");
}

#[tokio::test]
async fn a_socket_becomes_an_empty_file() {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).expect("socket");
    let snapshot = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    let made = fs::symlink_metadata(of(&snapshot).join("socket")).expect("stat");
    assert!(made.is_file() && made.len() == 0);
}

#[tokio::test]
async fn hard_links_stay_hard_links() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    fs::hard_link(source.join("dir/b"), source.join("also")).expect("link");
    fs::hard_link(source.join("dir/b"), source.join("dir/deep/too")).expect("link");
    let first = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    let tree = of(&first);
    assert_eq!(inode(tree.join("also")), inode(tree.join("dir/b")));
    assert_eq!(inode(tree.join("also")), inode(tree.join("dir/deep/too")));
    // One name becomes a file of its own, with equal content and times.
    let copied = Command::new("cp")
        .arg("-p")
        .arg(source.join("also"))
        .arg(source.join("new"))
        .status()
        .expect("cp");
    assert!(copied.success());
    fs::rename(source.join("new"), source.join("also")).expect("rename");
    let second = of(&fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot"));
    assert_ne!(inode(second.join("also")), inode(second.join("dir/b")));
    assert_eq!(
        inode(second.join("dir/b")),
        inode(second.join("dir/deep/too"))
    );
    assert_eq!(describe(&second), describe(&source));
}

#[tokio::test]
async fn names_outside_of_the_directory_do_not_matter() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    fs::hard_link(source.join("dir/b"), source.join("also")).expect("link");
    let outside = fixture.directory("outside");
    let first = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    for name in ["a", "dir/b"] {
        fs::hard_link(source.join(name), outside.join(name.replace('/', "-"))).expect("link");
    }
    let second = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    assert_eq!(first.id(), second.id());
    fs::write(source.join("also"), "both").expect("write");
    let third = of(&fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot"));
    assert_eq!(describe(&third), describe(&source));
    assert_eq!(inode(third.join("also")), inode(third.join("dir/b")));
}

#[tokio::test]
async fn nothing_changed_is_the_same_snapshot() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let first = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    for _ in 0..3 {
        let again = fixture
            .snapshot(&source, &context())
            .await
            .expect("snapshot");
        assert_eq!(again.id(), first.id());
    }
}

#[tokio::test]
async fn unchanged_files_are_links_into_the_snapshot_before() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let first = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    fs::write(source.join("dir/b"), "changed").expect("write");
    fs::remove_file(source.join("z")).expect("remove");
    fs::write(source.join("new"), "new").expect("write");
    let second = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    let (before, after) = (of(&first), of(&second));
    assert_eq!(describe(&after), describe(&source));
    assert_eq!(inode(before.join("a")), inode(after.join("a")));
    assert_eq!(
        inode(before.join("dir/deep/c")),
        inode(after.join("dir/deep/c"))
    );
    assert_ne!(inode(before.join("dir/b")), inode(after.join("dir/b")));
    assert_eq!(
        fs::read_to_string(before.join("dir/b")).expect("read"),
        "22",
        "the snapshot before is as it was"
    );
    assert!(before.join("z").exists());
}

type Change = fn(&Path);

#[rstest::rstest]
#[case::content_of_the_same_size(|source: &Path| {
    let path = source.join("a");
    let times = fs::metadata(&path).expect("stat").modified().expect("mtime");
    fs::write(&path, "9").expect("write");
    fs::File::open(&path).expect("open").set_times(fs::FileTimes::new().set_modified(times)).expect("times");
})]
#[case::another_file_of_the_same_size_and_time(|source: &Path| {
    let path = source.join("a");
    let times = fs::metadata(&path).expect("stat").modified().expect("mtime");
    fs::write(source.join("new"), "9").expect("write");
    fs::File::open(source.join("new")).expect("open").set_times(fs::FileTimes::new().set_modified(times)).expect("times");
    fs::rename(source.join("new"), &path).expect("rename");
})]
#[case::mode(|source: &Path| fs::set_permissions(source.join("a"), PermissionsExt::from_mode(0o600)).expect("mode"))]
#[case::time(|source: &Path| age(&source.join("a")))]
#[case::xattr(|source: &Path| rustix::fs::setxattr(source.join("a"), "user.x", b"1", XattrFlags::empty()).expect("xattr"))]
#[case::directory_xattr(|source: &Path| rustix::fs::setxattr(source.join("dir"), "user.x", b"1", XattrFlags::empty()).expect("xattr"))]
#[case::removal(|source: &Path| fs::remove_file(source.join("a")).expect("remove"))]
#[case::addition(|source: &Path| fs::write(source.join("dir/n"), "").expect("write"))]
#[case::file_to_directory(|source: &Path| {
    fs::remove_file(source.join("a")).expect("remove");
    fs::create_dir(source.join("a")).expect("mkdir");
})]
#[case::directory_to_link(|source: &Path| {
    fs::remove_dir_all(source.join("dir")).expect("remove");
    symlink("a", source.join("dir")).expect("link");
})]
#[tokio::test]
async fn changes_are_seen(#[case] change: Change) {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let first = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    change(&source);
    let second = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    assert_ne!(first.id(), second.id());
    assert_eq!(describe(&of(&second)), describe(&source));
    let attribute = |path: &str| {
        let mut value = [0_u8; 8];
        rustix::fs::getxattr(of(&second).join(path), "user.x", &mut value[..])
            == rustix::fs::getxattr(source.join(path), "user.x", &mut value[..])
    };
    assert!(attribute("a") && attribute("dir"));
}

#[tokio::test]
async fn a_touch_that_changes_no_time_changes_nothing() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    age(&source.join("a"));
    let first = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    // Only the change time differs afterwards.
    age(&source.join("a"));
    fs::set_permissions(source.join("z"), PermissionsExt::from_mode(0o600)).expect("mode");
    fs::set_permissions(source.join("z"), PermissionsExt::from_mode(0o644)).expect("mode");
    let second = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    assert_eq!(first.id(), second.id());
}

#[tokio::test]
async fn another_filter_shares_files_but_not_the_snapshot() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let all = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    let some = LocalIdentifier {
        include: Some(vec!["dir".into()]),
        ..context()
    };
    let part = fixture.snapshot(&source, &some).await.expect("snapshot");
    assert_eq!(paths(&part), ["dir", "dir/b", "dir/deep", "dir/deep/c"]);
    assert_eq!(
        inode(of(&all).join("dir/b")),
        inode(of(&part).join("dir/b"))
    );
    let again = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    assert_eq!(again.id(), all.id());
}

#[tokio::test]
async fn without_a_differ_everything_is_copied() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let identifier = LocalIdentifier {
        differ: Differ::None,
        ..context()
    };
    let first = fixture
        .snapshot(&source, &identifier)
        .await
        .expect("snapshot");
    let second = fixture
        .snapshot(&source, &identifier)
        .await
        .expect("snapshot");
    assert_ne!(inode(of(&first).join("a")), inode(of(&second).join("a")));
}

#[tokio::test]
async fn links_out_of_the_directory_are_copied_as_links() {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    let outside = fixture.directory("outside");
    fs::write(outside.join("secret"), "secret").expect("write");
    symlink(&outside, source.join("absolute")).expect("link");
    symlink("../outside", source.join("relative")).expect("link");
    let follow = [
        "absolute/secret",
        "relative/secret",
        "../outside/secret",
        "/../../outside",
    ];
    let identifier = LocalIdentifier {
        follow: Some(follow.map(String::from).to_vec()),
        ..context()
    };
    let snapshot = fixture
        .snapshot(&source, &identifier)
        .await
        .expect("snapshot");
    assert_eq!(paths(&snapshot), ["absolute", "relative"]);
}

#[tokio::test]
async fn a_file_that_keeps_changing_is_named() {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    let path = source.join("busy");
    // Large enough that it cannot be read between two writes.
    fs::write(&path, vec![0; 64 << 20]).expect("write");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (stop, path) = (Arc::clone(&stop), path.clone());
        move || {
            use std::os::unix::fs::FileExt as _;
            let file = fs::File::options().write(true).open(path).expect("open");
            let mut at = 0;
            while !stop.load(Ordering::Relaxed) {
                file.write_all_at(b"x", at % (64 << 20)).expect("write");
                at += 4096;
            }
        }
    });
    let outcome = fixture.snapshot(&source, &context()).await;
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("writer");
    let error = outcome.expect_err("must fail");
    assert!(
        matches!(&error, SourceError::Changing { path, .. } if path == Path::new("busy")),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_only_grows_is_taken_as_it_was() {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    let path = source.join("log");
    fs::write(&path, vec![b'x'; 16 << 20]).expect("write");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (stop, path) = (Arc::clone(&stop), path.clone());
        move || {
            use std::io::Write as _;
            let mut file = fs::File::options().append(true).open(path).expect("open");
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"xxxxxxxx").expect("write");
            }
        }
    });
    let outcome = fixture.snapshot(&source, &context()).await;
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("writer");
    let snapshot = outcome.expect("snapshot");
    let copied = fs::read(of(&snapshot).join("log")).expect("read");
    assert!(copied.len() >= 16 << 20 && copied.iter().all(|&byte| byte == b'x'));
    let again = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    assert_eq!(
        fs::read(of(&again).join("log")).expect("read"),
        fs::read(&path).expect("read")
    );
}

#[tokio::test]
async fn holes_stay_holes() {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    let file = fs::File::create(source.join("sparse")).expect("create");
    file.set_len(1 << 30).expect("length");
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 512 << 20).expect("write");
    let snapshot = fixture
        .snapshot(&source, &context())
        .await
        .expect("snapshot");
    let made = fs::File::open(of(&snapshot).join("sparse")).expect("open");
    let meta = made.metadata().expect("stat");
    assert_eq!(meta.len(), 1 << 30);
    assert!(meta.blocks() < 1000, "{} blocks", meta.blocks());
    let mut middle = [0; 6];
    std::os::unix::fs::FileExt::read_exact_at(&made, &mut middle, 512 << 20).expect("read");
    assert_eq!(&middle, b"middle");
}

#[tokio::test]
async fn progress_tells_bytes_and_files() {
    let fixture = Fixture::new();
    let source = small(&fixture);
    let last = Arc::new(Mutex::new(TransferProgress::default()));
    let told = Arc::clone(&last);
    let progress = Arc::new(move |now: TransferProgress| {
        let mut last = told.lock().expect("lock");
        last.bytes = last.bytes.max(now.bytes);
        last.files = last.files.max(now.files);
    });
    LocalSource::new(fixture.store.clone())
        .snapshot(&context(), &source, "key", progress)
        .await
        .expect("snapshot");
    assert_eq!(
        *last.lock().expect("lock"),
        TransferProgress { bytes: 6, files: 6 }
    );
}

#[tokio::test]
async fn a_directory_that_is_missing_is_named() {
    let fixture = Fixture::new();
    let missing = fixture.dir.path().join("missing");
    let error = fixture
        .snapshot(&missing, &context())
        .await
        .expect_err("must fail")
        .to_string();
    let expected = format!(
        "local source context: cannot open {}: No such file or directory (os error 2)",
        missing.display()
    );
    assert_eq!(error, expected);
}

#[tokio::test]
async fn the_store_itself_is_left_out() {
    let fixture = Fixture::new();
    small(&fixture);
    let snapshot = fixture
        .snapshot(fixture.dir.path(), &context())
        .await
        .expect("snapshot");
    assert!(of(&snapshot).join("source/a").exists());
    assert!(!of(&snapshot).join("root").exists());
}

#[tokio::test]
async fn checksums_come_with_the_snapshot() {
    use kiln_store::checksum::{ChecksumOptions, Checksums, RootHeader};
    use kiln_store::tree::Root;
    let fixture = Fixture::new();
    let source = small(&fixture);
    rustix::fs::setxattr(source.join("z"), "user.x", b"1", XattrFlags::empty()).expect("xattr");
    fs::set_permissions(source.join("dir/b"), PermissionsExt::from_mode(0o4755)).expect("mode");
    let check = async |what: &str| {
        let snapshot = fixture
            .snapshot(&source, &context())
            .await
            .expect("snapshot");
        let root = Root::open(&of(&snapshot)).expect("root");
        let kept = snapshot.value("checksums").expect("value").expect("kept");
        let mut kept = Checksums::from_bytes(&kept).expect("checksums");
        let mut fresh = Checksums::new(RootHeader::Ignored);
        for path in ["/", "/z", "/dir", "/dir/b", "/dir/deep"] {
            let options = ChecksumOptions::default();
            let expected = fresh.checksum(&root, path, &options).expect(path);
            assert_eq!(
                kept.checksum(&root, path, &options).expect(path),
                expected,
                "{what} {path}"
            );
        }
        // As the engine does once it has asked.
        snapshot
            .set_value("checksums", &kept.to_bytes())
            .expect("value");
    };
    check("at first").await;
    fs::write(source.join("dir/b"), "new").expect("write");
    check("after a change").await;
    fs::set_permissions(source.join("dir/deep"), PermissionsExt::from_mode(0o700)).expect("mode");
    fs::remove_file(source.join("a")).expect("remove");
    fs::write(source.join("dir/deep/new"), "new").expect("write");
    check("after more changes").await;
    rustix::fs::setxattr(source.join("dir"), "user.x", b"1", XattrFlags::empty()).expect("xattr");
    age(&source.join("dir"));
    check("after a change of a directory").await;
}

#[tokio::test]
async fn names_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt as _;
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe\n");
    fs::write(source.join(name), "x").expect("write");
    let identifier = LocalIdentifier {
        exclude: Some(vec!["y".into()]),
        ..context()
    };
    let snapshot = fixture
        .snapshot(&source, &identifier)
        .await
        .expect("snapshot");
    assert_eq!(fs::read(of(&snapshot).join(name)).expect("read"), b"x");
}

#[tokio::test]
async fn many_files() {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    let count = 20_000;
    for directory in 0..count / 100 {
        let directory = source.join(format!("d{directory}"));
        fs::create_dir(&directory).expect("mkdir");
        for file in 0..100 {
            fs::write(directory.join(format!("f{file}")), format!("{file}")).expect("write");
        }
    }
    let made = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&made);
    let progress = Arc::new(move |now: TransferProgress| {
        told.fetch_max(now.files, Ordering::Relaxed);
    });
    let local = LocalSource::new(fixture.store.clone());
    let snapshot = async || {
        local
            .snapshot(&context(), &source, "key", progress.clone())
            .await
            .expect("snapshot")
    };
    let first = snapshot().await;
    assert_eq!(made.load(Ordering::Relaxed), count + count / 100);
    let again = snapshot().await;
    assert_eq!(first.id(), again.id());
    fs::write(source.join("d7/f7"), "changed").expect("write");
    let changed = snapshot().await;
    assert_ne!(first.id(), changed.id());
    assert_eq!(
        fs::read(of(&changed).join("d7/f7")).expect("read"),
        b"changed"
    );
}
