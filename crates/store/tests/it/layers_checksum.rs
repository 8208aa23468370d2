//! Content checksums: equal to what upstream computes, and never computed twice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kiln_store::checksum::{ChecksumOptions, Checksums, RootHeader};
use kiln_store::tree::Root;
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
