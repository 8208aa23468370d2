//! Addresses of repositories.

use kiln_llb::git_url::{GitRef, GitUrl, GitUrlError, is_git_transport};
use proptest::prelude::*;

#[test]
fn takes_addresses_apart() {
    for (text, scheme, host, path, reference, subdir, remote) in [
        (
            "https://h.com/a/b.git",
            "https",
            "h.com",
            "/a/b.git",
            "",
            "",
            "https://h.com/a/b.git",
        ),
        (
            "https://u:p@h.com:8/a.git#main:d/../e",
            "https",
            "h.com:8",
            "/a.git",
            "main",
            "e",
            "https://u:p@h.com:8/a.git",
        ),
        (
            "git@h.com:a/b.git?x=1#v1",
            "ssh",
            "h.com",
            "a/b.git",
            "v1",
            "",
            "git@h.com:a/b.git",
        ),
        (
            "ssh://git@h.com/a",
            "ssh",
            "h.com",
            "/a",
            "",
            "",
            "ssh://git@h.com/a",
        ),
        (
            "git://h/a%20b#:sub",
            "git",
            "h",
            "/a b",
            "",
            "sub",
            "git://h/a%20b",
        ),
    ] {
        let url = GitUrl::parse(text).unwrap();
        let parts = (
            url.scheme.as_str(),
            url.host.as_str(),
            url.path.as_str(),
            url.reference.as_str(),
            url.subdir.as_str(),
            url.remote.as_str(),
        );
        assert_eq!(
            parts,
            (scheme, host, path, reference, subdir, remote),
            "{text}"
        );
        assert!(is_git_transport(text));
    }
}

#[test]
fn knows_what_is_no_repository() {
    assert_eq!(GitUrl::parse("a/b"), Err(GitUrlError::UnknownProtocol));
    assert_eq!(
        GitUrl::parse("ftp://a/b"),
        Err(GitUrlError::InvalidProtocol("ftp".into()))
    );
    for text in [
        "./a.git",
        "../a.git",
        "https://h/a",
        "http://h/a.git.txt",
        "a.git",
        "file:///a.git",
    ] {
        assert!(GitRef::parse(text).is_err(), "{text}");
    }
    assert!(!is_git_transport("a/b"));
}

#[test]
fn queries_say_what_fragments_do_and_more() {
    let parsed = GitRef::parse(
        "https://h/r.git?branch=b&subdir=s&checksum=c&keep-git-dir&submodules=0&mtime=commit&fetch-by-commit=1",
    );
    let expected = GitRef {
        remote: "https://h/r.git".into(),
        short_name: "r".into(),
        reference: "refs/heads/b".into(),
        checksum: "c".into(),
        subdir: "s".into(),
        keep_git_dir: Some(true),
        submodules: Some(false),
        mtime: "commit".into(),
        fetch_by_commit: true,
        ..GitRef::default()
    };
    assert_eq!(parsed, Ok(expected));
    let tagged = GitRef::parse("https://h/r.git?tag=v1").unwrap();
    assert_eq!(tagged.reference, "refs/tags/v1");
    let local = GitRef::parse("github.com/a/b#x").unwrap();
    assert!(local.like_local_path);
    assert_eq!(
        (local.remote.as_str(), local.reference.as_str()),
        ("github.com/a/b", "x")
    );
}

#[test]
fn contradictions_are_errors() {
    for (query, error) in [
        ("?ref=a#b", "ref conflicts: \"b\" vs \"a\""),
        ("?tag=a&branch=b", "branch conflicts with tag"),
        ("?ref=", "query \"ref\" has no value"),
        ("?ref=a&ref=b", "query \"ref\" has multiple values"),
        ("?submodules=maybe", "invalid submodules value: \"maybe\""),
        (
            "?mtime=x",
            "invalid mtime value: \"x\" (must be \"checkout\" or \"commit\")",
        ),
        ("?foo=1", "unexpected query \"foo\""),
    ] {
        let found = GitRef::parse(&format!("https://h/r.git{query}")).unwrap_err();
        assert_eq!(found.to_string(), error);
    }
}

proptest! {
    #[test]
    fn reading_never_panics(text in ".{0,60}", query in "[a-z=&%#?:/0-9]{0,40}") {
        let _ = GitRef::parse(&text);
        let _ = GitRef::parse(&format!("https://h/r.git?{query}"));
        let _ = GitRef::parse(&format!("git@h:{query}"));
    }
}
