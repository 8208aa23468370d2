//! Docker's path patterns and ignore files.

use kiln_store::pattern::{MatchState, Pattern, PatternMatcher, clean, read_ignore_file};
use proptest::prelude::*;

/// Tests every path by itself and in a tree walk, which must agree.
#[track_caller]
fn check(patterns: &[&str], matched: &[&str], not_matched: &[&str]) {
    let matcher = PatternMatcher::new(patterns).unwrap();
    for (paths, expected) in [(matched, true), (not_matched, false)] {
        for path in paths {
            assert_eq!(matcher.matches(path), expected, "{patterns:?} {path}");
            assert_eq!(
                walk(&matcher, path),
                expected,
                "{patterns:?} walk to {path}"
            );
        }
    }
}

fn walk(matcher: &PatternMatcher, path: &str) -> bool {
    let mut state = MatchState::default();
    for (end, _) in path.match_indices('/') {
        state = matcher.enter(&path[..end], &state).1;
    }
    matcher.matches_under(path, &state)
}

#[test]
fn plain_paths_match_themselves_and_what_is_below() {
    check(&["a"], &["a", "a/b", "a/b/c"], &["b", "ab", "b/a", "A"]);
    check(&["a/b"], &["a/b", "a/b/c"], &["a", "a/c", "b", "x/a/b"]);
    check(&[" ./a//b/../c/ "], &["a/c", "a/c/d"], &["a", "a/b"]);
    check(
        &["a.b", "c+d", "(e)", "{f,g}", "h|i", "$j"],
        &["a.b", "c+d", "(e)", "{f,g}", "h|i", "$j"],
        &["axb", "ccd", "e", "f", "h"],
    );
}

#[test]
fn one_star_stays_within_a_name() {
    check(&["*"], &["a", "a/b"], &[]);
    check(&["*.go"], &["a.go", ".go", "a.go/b"], &["a.gox", "b/a.go"]);
    check(&["a/*"], &["a/b", "a/b/c"], &["a", "b/a"]);
    check(&["*/b"], &["a/b", "a/b/c"], &["b", "a/c/b"]);
    check(&["a?c"], &["abc", "aéc"], &["ac", "a/c", "abbc"]);
    check(&["*/*.md"], &["a/b.md"], &["b.md", "a/b/c.md"]);
}

#[test]
fn two_stars_cross_directories() {
    check(&["**"], &["a", "a/b"], &[]);
    check(&["**/b"], &["b", "a/b", "a/c/b", "b/x"], &["ab", "a/bc"]);
    check(&["a/**"], &["a/b", "a/b/c"], &["a", "ab"]);
    check(
        &["a/**/b"],
        &["a/b", "a/x/b", "a/x/y/b/z"],
        &["a", "a/x", "ab"],
    );
    check(
        &["**/*.go"],
        &["a.go", "b/a.go", "b/c/a.go"],
        &["a.g", "b/go"],
    );
    check(&["**/a/**/c"], &["a/c", "x/a/y/c"], &["c", "xa/c"]);
    check(&["a**"], &["a", "ab", "a/b", "ab/c"], &["b"]);
    check(&["**b"], &["b", "ab", "a/b", "a/xb"], &["ba"]);
}

#[test]
fn classes_and_escapes() {
    check(&["[ab]c"], &["ac", "bc"], &["cc", "abc", "[ab]c"]);
    check(&["[^ab]c"], &["cc", "éc"], &["ac", "c"]);
    check(&["[a-c]"], &["a", "b", "c"], &["d", "-"]);
    check(
        &["\\*a", "b\\?", "\\!c", "d\\d"],
        &["*a", "b?", "!c", "dd"],
        &["xa", "bc", "c", "d1"],
    );
    check(&["[*.]"], &["*", "."], &["a"]);
    check(&["[\\]\\-&&~]"], &["]", "-", "&", "~"], &["\\", "a"]);
}

#[test]
fn the_last_match_decides() {
    check(&["a", "!a/b"], &["a", "a/c", "a/bc"], &["a/b", "a/b/c"]);
    check(
        &["a", "!a/b", "a/b/c"],
        &["a", "a/b/c", "a/b/c/d"],
        &["a/b", "a/b/d"],
    );
    check(&["!a/b", "a"], &["a", "a/b"], &[]);
    check(
        &["*", "!*.md", "secret.md"],
        &["a", "secret.md"],
        &["a.md", "b.md"],
    );
    check(
        &["**/node_modules", "!keep/node_modules"],
        &["node_modules", "a/node_modules/b"],
        &["keep/node_modules/b"],
    );
}

#[test]
fn many_patterns_share_one_state() {
    let patterns: Vec<String> = (0..200).map(|index| format!("dir{index}/sub")).collect();
    let matcher = PatternMatcher::new(&patterns).unwrap();
    let (matched, state) = matcher.enter(
        "dir199/sub",
        &matcher.enter("dir199", &MatchState::default()).1,
    );
    assert!(matched && matcher.matches_under("dir199/sub/x", &state));
    assert!(!matcher.matches_under("dir198/x", &MatchState::default()));
}

#[test]
fn what_a_matcher_knows_of_its_patterns() {
    let matcher = PatternMatcher::new(["", " ", "a/", "!b"]).unwrap();
    let patterns: Vec<_> = matcher
        .patterns()
        .iter()
        .map(|pattern| (pattern.as_str(), pattern.is_exception()))
        .collect();
    assert_eq!(patterns, [("a", false), ("b", true)]);
    assert!(matcher.has_exceptions() && !matcher.is_empty());

    let pattern = Pattern::new("a*").unwrap().unwrap();
    assert!(pattern.matches("ab") && !pattern.matches("ab/c"));
    assert!(Pattern::new(" ").unwrap().is_none());
}

#[test]
fn names_that_are_not_utf8() {
    let matcher = PatternMatcher::new(["a*", "**/c"]).unwrap();
    assert!(matcher.matches(b"a\xff") && matcher.matches(b"\xff/c") && !matcher.matches(b"b\xff"));
}

#[test]
fn mistakes() {
    let error = |pattern: &str| PatternMatcher::new([pattern]).unwrap_err().to_string();
    assert_eq!(error("!"), "illegal exclusion pattern: \"!\"");
    for pattern in [
        "[", "[a", "[]", "[]a]", "[^]", "[-a]", "[a-]", "[a\\]", "a\\", "[c-a]",
    ] {
        assert!(
            error(pattern).starts_with("syntax error in pattern"),
            "{pattern}"
        );
    }
}

#[test]
fn clean_paths() {
    for (path, expected) in [
        ("", "."),
        (".", "."),
        ("/", "/"),
        ("//a//b/", "/a/b"),
        ("./a/./b/../c", "a/c"),
        ("a/..", "."),
        ("../../a", "../../a"),
        ("a/../../b", "../b"),
        ("/../a", "/a"),
    ] {
        assert_eq!(clean(path), expected, "{path}");
    }
}

#[test]
fn ignore_files() {
    let text = "\u{feff}# comment\n a \n #name\n\n/b/c/\r\n!/d\n! e\n./f/../g\n../h\n/\n!\n";
    let expected = ["a", "#name", "b/c", "!d", "!e", "g", "../h", "/", "!"];
    assert_eq!(read_ignore_file(text.as_bytes()).unwrap(), expected);
    assert_eq!(read_ignore_file(b"").unwrap(), [""; 0]);

    let long = format!("a\n{}", "b".repeat(1 << 16));
    assert_eq!(
        read_ignore_file(long.as_bytes()).unwrap_err().to_string(),
        "line 2 is longer than 65535 bytes"
    );
}

fn pattern() -> impl Strategy<Value = String> {
    let pieces = [
        "a", "b", "/", "*", "**", "?", "[ab]", "[^a]", "\\a", ".", "!", "é", "[", "]",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..7)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_walk_agrees_with_single_tests(
        patterns in prop::collection::vec(pattern(), 0..5),
        // No directory has entries called `.` and `..`.
        names in prop::collection::vec("[abé][ab.é]?|[.][abé]", 1..5),
    ) {
        let Ok(matcher) = PatternMatcher::new(&patterns) else { return Ok(()) };
        let path = names.join("/");
        prop_assert_eq!(walk(&matcher, &path), matcher.matches(&path));
    }

    #[test]
    fn anything_can_be_a_pattern(patterns in prop::collection::vec(any::<String>(), 0..4), path in any::<String>()) {
        if let Ok(matcher) = PatternMatcher::new(&patterns) {
            let _ = matcher.matches(&path);
        }
    }

    #[test]
    fn anything_can_be_an_ignore_file(text in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = read_ignore_file(&text);
    }
}
