//! Which files the patterns let through.

use std::os::unix::fs::symlink;

use kiln_source::{LocalIdentifier, SourceError};
use kiln_testkit::rootfs;
use rstest::rstest;

use crate::tree::paths;
use crate::{Fixture, context};

fn list(patterns: &str) -> Option<Vec<String>> {
    (!patterns.is_empty()).then(|| patterns.split(' ').map(str::to_owned).collect())
}

#[rstest]
#[case::all(
    "",
    "",
    "a a.txt dir dir/b.txt dir/c dir/sub dir/sub/d.txt other other/e"
)]
#[case::include_a_file("a", "", "a")]
#[case::include_a_directory("dir/sub", "", "dir dir/sub dir/sub/d.txt")]
#[case::include_a_pattern("**/*.txt", "", "a.txt dir dir/b.txt dir/sub dir/sub/d.txt")]
#[case::include_a_pattern_in_a_directory("dir/*.txt", "", "dir dir/b.txt")]
#[case::include_nothing("none", "", "")]
#[case::include_with_an_exception("dir !dir/sub", "", "dir dir/b.txt dir/c")]
#[case::exclude_a_file(
    "",
    "a",
    "a.txt dir dir/b.txt dir/c dir/sub dir/sub/d.txt other other/e"
)]
#[case::exclude_a_directory("", "dir", "a a.txt other other/e")]
#[case::exclude_with_an_exception(
    "",
    "dir !dir/sub/d.txt",
    "a a.txt dir dir/sub dir/sub/d.txt other other/e"
)]
#[case::exclude_with_a_pattern_as_exception(
    "",
    "* !**/*.txt",
    "a.txt dir dir/b.txt dir/sub dir/sub/d.txt"
)]
#[case::exclude_what_is_in_a_directory("", "dir/**", "a a.txt dir other other/e")]
#[case::exclude_everything("", "*", "")]
#[case::both("dir", "**/*.txt", "dir dir/c dir/sub")]
#[case::trailing_slash("dir/", "", "dir dir/b.txt dir/c dir/sub dir/sub/d.txt")]
#[tokio::test]
async fn patterns(#[case] include: &str, #[case] exclude: &str, #[case] expected: &str) {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    let files = [
        "a",
        "a.txt",
        "dir/b.txt",
        "dir/c",
        "dir/sub/d.txt",
        "other/e",
    ];
    rootfs::files(&source, &files.map(|path| (path, ""))).expect("files");
    let identifier = LocalIdentifier {
        include: list(include),
        exclude: list(exclude),
        ..context()
    };
    let snapshot = fixture
        .snapshot(&source, &identifier)
        .await
        .expect("snapshot");
    assert_eq!(paths(&snapshot).join(" "), expected);
}

#[rstest]
#[case::a_file("a", "a")]
#[case::a_link("link", "a link")]
#[case::through_a_directory_link("dirlink/b", "dir dir/b dirlink")]
#[case::two_through_one_link("dirlink/b dirlink/c", "dir dir/b dir/c dirlink")]
#[case::a_link_to_a_link("chain", "a chain link")]
#[case::an_absolute_link("absolute", "absolute dir dir/b")]
#[case::a_loop("loop", "loop pool")]
#[case::a_loop_that_grows("grow/x", "grow")]
#[case::a_link_to_nothing("broken", "broken")]
#[case::wildcards("l*", "a link loop pool")]
#[case::wildcards_in_a_directory("dir/*", "dir dir/b dir/c dir/up a")]
#[case::nothing("none", "")]
#[case::everything(
    ".",
    "a absolute broken chain dir dir/b dir/c dir/up dirlink grow link loop pool"
)]
#[case::a_file_as_directory("a/x", "")]
#[tokio::test]
async fn followed_paths(#[case] follow: &str, #[case] expected: &str) {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    rootfs::files(&source, &[("a", ""), ("dir/b", ""), ("dir/c", "")]).expect("files");
    let links = [
        ("a", "link"),
        ("dir", "dirlink"),
        ("link", "chain"),
        ("/dir/b", "absolute"),
        ("pool", "loop"),
        ("loop", "pool"),
        ("grow/more", "grow"),
        ("nowhere", "broken"),
        ("../a", "dir/up"),
    ];
    for (target, name) in links {
        symlink(target, source.join(name)).expect("link");
    }
    let identifier = LocalIdentifier {
        follow: list(follow),
        ..context()
    };
    let snapshot = fixture
        .snapshot(&source, &identifier)
        .await
        .expect("snapshot");
    let mut expected: Vec<&str> = expected
        .split(' ')
        .filter(|path| !path.is_empty())
        .collect();
    expected.sort_unstable();
    assert_eq!(paths(&snapshot), expected);
}

#[tokio::test]
async fn followed_and_included_paths_add_up() {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    rootfs::files(&source, &[("a", ""), ("b", ""), ("c", "")]).expect("files");
    symlink("b", source.join("link")).expect("link");
    let identifier = LocalIdentifier {
        include: list("a"),
        follow: list("link"),
        ..context()
    };
    let snapshot = fixture
        .snapshot(&source, &identifier)
        .await
        .expect("snapshot");
    assert_eq!(paths(&snapshot), ["a", "b", "link"]);
}

#[tokio::test]
async fn a_bad_pattern_is_an_error() {
    let fixture = Fixture::new();
    let source = fixture.directory("source");
    let identifier = LocalIdentifier {
        exclude: list("[a"),
        ..context()
    };
    let error = fixture
        .snapshot(&source, &identifier)
        .await
        .expect_err("must fail");
    assert!(matches!(error, SourceError::Pattern { .. }), "{error}");
    assert!(
        error.to_string().starts_with("invalid excludepatterns"),
        "{error}"
    );
}
