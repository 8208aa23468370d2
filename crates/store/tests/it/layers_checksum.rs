//! Content checksums: equal to what upstream computes, and never computed twice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kiln_store::checksum::{
    Change, ChecksumOptions, Checksums, FileHash, RootHeader, SummedTree, changes,
};
use kiln_store::tree::{Follow, Root};
use rstest::rstest;
use sha2::{Digest, Sha256};
use tempfile::tempdir;

use crate::layers_trees::build;

/// The context that the reference's cache records below were made from.
fn context(root: &Path) {
    build(
        root,
        "
        d etc 755
        f etc/group 644 root:x:0:\\nstaff:x:50:joe\\n
        f etc/passwd 644 root:x:0:0::/root:/bin/sh\\njoe:x:41:42::/home/joe:/bin/sh\\n
        d src 755
        f src/1.txt 644 one\\n
        f src/2.txt 644 two\\n
        d src/deep 755
        l src/deep/link x
        f src/deep/x 644 x\\n
        f src/deep/y 644 y\\n
        f src/run.sh 755 #!/bin/sh\\n
        ",
    );
}

fn sha256(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

/// The name that upstream's cache export gives to an input with these content checksums.
fn record(sums: &[String]) -> String {
    sha256(&format!("{}@-1", sha256(&sums.join("\0"))))
}

fn options(follow_links: bool) -> ChecksumOptions {
    ChecksumOptions {
        follow_links,
        ..ChecksumOptions::default()
    }
}

fn patterns(include: &[&str], required: &[&str]) -> ChecksumOptions {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    ChecksumOptions {
        include: list(include),
        required: list(required),
        ..options(true)
    }
}

fn wildcard() -> ChecksumOptions {
    ChecksumOptions {
        wildcard: true,
        ..options(true)
    }
}

/// The records are those that the reference exported for builds of these files (`COPY src/1.txt …`, `COPY src …` and
/// so on); each names the checksums of everything that one instruction reads.
#[rstest]
#[case::file(&[("/src/1.txt", options(true))], "448056abb0111bb7ec4ce0e8a28f0e9198ad77d381aba8a28b25da8e789b364c")]
#[case::directory(&[("/src", options(true))], "33bf0066109c5a7b8aca577f1efe5885a792831248499aa3060b27e3898b9caf")]
#[case::wildcard_in_name(&[("/src/*.txt", wildcard())], "cc4347540c1d29d2d6fb244215ba0e1ae1e56240b73fef295b32cc26ac5a90c3")]
#[case::wildcard_in_dir(&[("/s?c/[12].txt", wildcard())], "8b2529206d1ed6bad3f60fe1292448efa88b8a4383d1de9018d5638845cdda5f")]
#[case::symlink(&[("/src/deep/link", options(true))], "c1966ecfe2047db5c3cc319ead42fe8ce32ea73b19cd0f68c2c9c90c724fa886")]
#[case::directory_with_symlink(&[("/src/deep", options(true))], "9c113cfeeba8b9f1ee9cf4ab5927aa197776c9b8ebaf6880fc59f993a0b3b3b0")]
#[case::file_and_directory(
    &[("/src/1.txt", options(true)), ("/src/deep", options(true))],
    "d656f4356960f3eebd1b501c167b8d691405ab1dd35f9438a7da964c1d66856c",
)]
#[case::include_patterns(
    &[("/", patterns(&["src/deep/x"], &["/src/deep/x"])), ("/src", patterns(&["deep/y"], &["/src/deep/y"]))],
    "59f17372f26071f9586a0dea8496a16a6c36b05eb0d28de4ff213ff0d13ba07d",
)]
fn equals_upstream(#[case] paths: &[(&str, ChecksumOptions)], #[case] expected: &str) {
    let dir = tempdir().unwrap();
    context(dir.path());
    check_record(dir.path(), paths, expected);
}

/// A whole context, of which an ignore file left this; the root directory itself does not count.
#[test]
fn equals_upstream_for_a_whole_context() {
    let dir = tempdir().unwrap();
    context(dir.path());
    fs::remove_file(dir.path().join("src/1.txt")).unwrap();
    fs::remove_file(dir.path().join("src/deep/y")).unwrap();
    build(
        dir.path(),
        "f .dockerignore 644 **/*.txt\\n!src/2.txt\\nDockerfile\\nsr*/deep/y\\n",
    );
    fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sh"),
        dir.path().join("sh"),
    )
    .unwrap();
    fs::set_permissions(dir.path().join("sh"), PermissionsExt::from_mode(0o755)).unwrap();
    let expected = "0e94bb17090d1e6207747e990ca2ed010fd68518815a621305521149554a19fc";
    check_record(dir.path(), &[("/", options(true))], expected);
}

fn check_record(dir: &Path, paths: &[(&str, ChecksumOptions)], expected: &str) {
    let root = Root::open(dir).unwrap();
    let mut checksums = Checksums::new(RootHeader::Ignored);
    let mut sums = |(path, options): &(&str, _)| {
        checksums
            .checksum(&root, path, options)
            .unwrap()
            .to_string()
    };
    let sums: Vec<String> = paths.iter().map(&mut sums).collect();
    assert_eq!(record(&sums), format!("sha256:{expected}"));
}

/// Everything a file can have, links that go in circles, and names around the slash in byte order.
const EVERYTHING: &str = "
    d t 755
    f t/f 4711 5:6 data
    x t/f user.b 2
    x t/f user.a 1
    x t/f trusted.c 3
    h t/f2 t/f
    l t/l f
    l t/up ..
    l t/circle circle
    d t/d 1777 7:8
    f t/d/f 644 deep
    c t/c 600 1:3
    b t/b 600 8:1
    p t/p 644
    s t/s 644
    f t/a-b 644 x
    f t/a/b 644 x
    f t/a.b 644 x
    ";

/// Sums of the reference's own code for the same tree.
#[rstest]
#[case::tree(
    "/t",
    options(false),
    Ok("d2a1797209a82079f49dce6e0a4bb275b6e82034b7ec47b957cd64f3d6e84cbf")
)]
#[case::exceptions(
    "/",
    ChecksumOptions { exclude: vec!["t/d".into(), "!t/d/f".into()], ..options(false) },
    Ok("d8bf41e1da9b7db112dedaddafb33d6eec368b4bcafd74677927098d026b3229")
)]
#[case::include(
    "/t",
    ChecksumOptions { include: vec!["**/f*".into()], ..options(false) },
    Ok("4fc9b36aa0b78e6fe7a91bb13bcb44a2b48096cc4dbcf59103bb4c17b53beb46")
)]
#[case::links_on_the_way(
    "/t/up/t/f",
    options(false),
    Ok("940c36988a907378637fe19ceb9882fedb6db3c2f8b515ae2e95889678381d0c")
)]
#[case::nothing_matches(
    "/none*",
    wildcard(),
    Ok("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
)]
#[case::missing("/none", options(true), Err("\"/none\": not found"))]
#[case::required("/t", patterns(&["f"], &["/t/x"]), Err("\"/t/x\": not found"))]
#[case::circle("/t/circle", options(true), Err("/t/circle: too many links"))]
#[case::bad_wildcard("/[", wildcard(), Err("/[: syntax error in pattern"))]
fn equals_upstream_for_all_kinds(
    #[case] path: &str,
    #[case] options: ChecksumOptions,
    #[case] expected: Result<&str, &str>,
) {
    let dir = tempdir().unwrap();
    build(dir.path(), EVERYTHING);
    let root = Root::open(dir.path()).unwrap();
    let found = Checksums::new(RootHeader::Counted).checksum(&root, path, &options);
    let found = found
        .map(|digest| digest.to_string())
        .map_err(|error| error.to_string());
    assert_eq!(
        found,
        expected
            .map(|sum| format!("sha256:{sum}"))
            .map_err(str::to_owned)
    );
}

#[rstest]
#[case::time(|dir: &Path| touch(&dir.join("src/1.txt")), true)]
#[case::content(|dir: &Path| fs::write(dir.join("src/1.txt"), "two\n").unwrap(), false)]
#[case::mode(|dir: &Path| fs::set_permissions(dir.join("src/1.txt"), PermissionsExt::from_mode(0o600)).unwrap(), false)]
#[case::mode_of_a_directory(|dir: &Path| fs::set_permissions(dir.join("src/deep"), PermissionsExt::from_mode(0o700)).unwrap(), false)]
#[case::name(|dir: &Path| fs::rename(dir.join("src/1.txt"), dir.join("src/3.txt")).unwrap(), false)]
#[case::elsewhere(|dir: &Path| fs::write(dir.join("etc/new"), "x").unwrap(), true)]
#[case::new_empty_directory(|dir: &Path| fs::create_dir(dir.join("src/new")).unwrap(), false)]
#[case::attribute(|dir: &Path| build(dir, "x src/run.sh user.a b"), false)]
fn what_counts(#[case] change: fn(&Path), #[case] same: bool) {
    let dir = tempdir().unwrap();
    context(dir.path());
    let sum = || {
        let root = Root::open(dir.path()).unwrap();
        Checksums::new(RootHeader::Counted)
            .checksum(&root, "/src", &options(true))
            .unwrap()
    };
    let before = sum();
    change(dir.path());
    assert_eq!(sum() == before, same);
}

fn touch(path: &Path) {
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
}

#[test]
fn what_is_known_is_not_read_again() {
    let dir = tempdir().unwrap();
    context(dir.path());
    let root = Root::open(dir.path()).unwrap();
    let mut sums = Checksums::new(RootHeader::Counted);
    assert!(!sums.is_dirty());
    let whole = sums.checksum(&root, "/src", &options(true)).unwrap();
    assert!(sums.is_dirty());

    // The tree is gone; the kept form still answers what was asked, and no more.
    let mut kept = Checksums::from_bytes(&sums.to_bytes()).unwrap();
    fs::remove_dir_all(dir.path().join("src")).unwrap();
    assert_eq!(kept.known("/src", &options(true)), Some(whole.clone()));
    assert_eq!(kept.known("/src", &options(false)), None);
    assert_eq!(kept.checksum(&root, "/src", &options(true)).unwrap(), whole);
    assert!(!kept.is_dirty());

    // Files that were hashed as part of a directory are known by themselves.
    fs::create_dir_all(dir.path().join("src")).unwrap();
    build(dir.path(), "f src/1.txt 644 changed");
    let one = kept.checksum(&root, "/src/1.txt", &options(true)).unwrap();
    assert_eq!(
        record(&[one.to_string()]),
        "sha256:448056abb0111bb7ec4ce0e8a28f0e9198ad77d381aba8a28b25da8e789b364c"
    );
}

#[test]
fn a_changed_tree_only_hashes_what_changed() {
    let dir = tempdir().unwrap();
    context(dir.path());
    let root = Root::open(dir.path()).unwrap();
    let mut sums = Checksums::new(RootHeader::Ignored);
    sums.checksum(&root, "/", &options(true)).unwrap();
    build(dir.path(), "f src/1.txt 644 other");
    fs::remove_dir_all(dir.path().join("src/deep")).unwrap();
    let fresh = Checksums::new(RootHeader::Ignored)
        .checksum(&root, "/", &options(true))
        .unwrap();
    assert_eq!(
        sums.derive(["src/1.txt", "/src/deep"])
            .checksum(&root, "/", &options(true))
            .unwrap(),
        fresh
    );

    // What is not named as changed is taken as it was.
    build(dir.path(), "f src/2.txt 644 silently");
    assert_eq!(
        sums.derive(["src/1.txt", "/src/deep"])
            .checksum(&root, "/", &options(true))
            .unwrap(),
        fresh
    );
}

#[test]
fn files_may_be_hashed_while_they_are_written() {
    let dir = tempdir().unwrap();
    context(dir.path());
    let root = Root::open(dir.path()).unwrap();
    let expected = Checksums::default()
        .checksum(&root, "/src/2.txt", &options(true))
        .unwrap();
    let metadata = root.metadata("/src/2.txt", Follow::No).unwrap();
    let mut hash = FileHash::new(RootHeader::Counted, &metadata, b"", &[]);
    hash.update(b"tw");
    hash.update(b"o\n");
    let mut sums = Checksums::default();
    sums.insert("src/2.txt", hash);
    fs::write(dir.path().join("src/2.txt"), "???\n").unwrap();
    assert_eq!(
        sums.checksum(&root, "/src/2.txt", &options(true)).unwrap(),
        expected
    );
}

#[rstest]
#[case(b"")]
#[case(b"kcs\x02\0\0\0")]
#[case(b"kcs\x01\0\x01")]
#[case(b"kcs\x01\0\0\x01\x05\x01a")]
#[case(b"kcs\x01\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")]
#[case(b"kcs\x01\0\0\0trailing")]
fn damaged_caches_are_refused(#[case] bytes: &[u8]) {
    assert!(Checksums::from_bytes(bytes).is_err());
}

/// The paths that differ in what a path covers after a change, with how many there are.
fn differences(
    change: fn(&Path),
    (path, options): (&str, &ChecksumOptions),
) -> (Vec<(String, Vec<Change>)>, usize) {
    let dirs = [tempdir().unwrap(), tempdir().unwrap()];
    dirs.iter().for_each(|dir| context(dir.path()));
    change(dirs[1].path());
    let [before, now] = dirs.each_ref().map(|dir| Root::open(dir.path()).unwrap());
    let mut sums = [Checksums::default(), Checksums::default()];
    let [old, new] = &mut sums;
    let found = changes(
        SummedTree {
            sums: old,
            root: &before,
        },
        SummedTree {
            sums: new,
            root: &now,
        },
        (path, options),
        2,
    );
    let found = found.unwrap();
    let first = found.first.into_iter();
    (first.map(|it| (it.path, it.what)).collect(), found.count)
}

#[rstest]
#[case::nothing(|_: &Path| {}, "/", &[], 0)]
#[case::elsewhere(|dir: &Path| fs::write(dir.join("src/1.txt"), "2").unwrap(), "/etc", &[], 0)]
#[case::content(
    |dir: &Path| fs::write(dir.join("src/1.txt"), "ten\n").unwrap(),
    "/", &[("/src/1.txt", vec![Change::Content])], 1
)]
#[case::the_file_itself(
    |dir: &Path| fs::write(dir.join("src/1.txt"), "2").unwrap(),
    "/src/1.txt", &[("/src/1.txt", vec![Change::Content])], 1
)]
#[case::mode(
    |dir: &Path| fs::set_permissions(dir.join("src/run.sh"), fs::Permissions::from_mode(0o644)).unwrap(),
    "/src", &[("/src/run.sh", vec![Change::Mode])], 1
)]
#[case::mode_and_content(
    |dir: &Path| {
        fs::write(dir.join("src/run.sh"), "").unwrap();
        fs::set_permissions(dir.join("src/run.sh"), fs::Permissions::from_mode(0o644)).unwrap();
    },
    "/src", &[("/src/run.sh", vec![Change::Content, Change::Mode])], 1
)]
#[case::mode_of_a_directory(
    |dir: &Path| fs::set_permissions(dir.join("src/deep"), fs::Permissions::from_mode(0o700)).unwrap(),
    "/src", &[("/src/deep/", vec![Change::Mode])], 1
)]
#[case::link(
    |dir: &Path| {
        fs::remove_file(dir.join("src/deep/link")).unwrap();
        std::os::unix::fs::symlink("y", dir.join("src/deep/link")).unwrap();
    },
    "/src", &[("/src/deep/link", vec![Change::Target])], 1
)]
#[case::kind(
    |dir: &Path| {
        fs::remove_file(dir.join("src/deep/link")).unwrap();
        fs::write(dir.join("src/deep/link"), "x").unwrap();
    },
    "/src", &[("/src/deep/link", vec![Change::Kind])], 1
)]
#[case::a_new_directory(
    |dir: &Path| {
        fs::create_dir_all(dir.join("src/new/er")).unwrap();
        fs::write(dir.join("src/new/er/file"), "").unwrap();
    },
    "/src", &[("/src/new/er/file", vec![Change::Added])], 1
)]
#[case::an_empty_directory(
    |dir: &Path| fs::create_dir(dir.join("src/new")).unwrap(),
    "/src", &[("/src/new/", vec![Change::Added])], 1
)]
#[case::many_removed(
    |dir: &Path| fs::remove_dir_all(dir.join("src/deep")).unwrap(),
    "/", &[("/src/deep/link", vec![Change::Removed]), ("/src/deep/x", vec![Change::Removed])], 3
)]
fn changes_are_named(
    #[case] change: fn(&Path),
    #[case] path: &str,
    #[case] expected: &[(&str, Vec<Change>)],
    #[case] count: usize,
) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, what)| ((*path).to_owned(), what.clone()))
        .collect();
    assert_eq!(
        differences(change, (path, &options(true))),
        (expected, count)
    );
}

#[test]
fn only_what_patterns_cover_is_named() {
    let edit = |dir: &Path| {
        for file in ["src/1.txt", "src/run.sh", "src/deep/x"] {
            fs::write(dir.join(file), "changed").unwrap();
        }
    };
    let text = ("/src/1.txt".to_owned(), vec![Change::Content]);
    let found = differences(edit, ("/src/*.txt", &wildcard()));
    assert_eq!(found, (vec![text.clone()], 1));
    let found = differences(edit, ("/src", &patterns(&["*.txt"], &[])));
    assert_eq!(found, (vec![text], 1));
}
