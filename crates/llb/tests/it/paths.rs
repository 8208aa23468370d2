//! Lexical paths.

use kiln_llb::path::{base, clean, is_abs, join};
use proptest::prelude::*;

#[test]
fn cleans_like_the_protocols_other_programs() {
    for (path, expected) in [
        ("", "."),
        (".", "."),
        ("/", "/"),
        ("//", "/"),
        ("a//b/", "a/b"),
        ("./a/.", "a"),
        ("a/..", "."),
        ("a/../..", ".."),
        ("/..", "/"),
        ("/../a", "/a"),
        ("../../a", "../../a"),
        ("/a/b/../c", "/a/c"),
        ("a/b/../../../c", "../c"),
    ] {
        assert_eq!(clean(path), expected, "{path:?}");
    }
}

#[test]
fn joins_and_takes_the_last_element() {
    assert_eq!(join(["/", "a", "", "../b"]), "/b");
    assert_eq!(join(["", ""]), "");
    assert_eq!(join(["a", "/b"]), "a/b");
    for (path, expected) in [
        ("", "."),
        ("/", "/"),
        ("//", "/"),
        ("/a/b/", "b"),
        ("c", "c"),
    ] {
        assert_eq!(base(path), expected);
    }
}

proptest! {
    #[test]
    fn cleaning_twice_changes_nothing(path in "[a./]{0,16}") {
        let once = clean(&path);
        prop_assert_eq!(clean(&once), once.clone());
        prop_assert_eq!(is_abs(&once), is_abs(&path));
    }
}
