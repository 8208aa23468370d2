//! Any text as an ignore file, its patterns applied to paths: no panic, and a tree walk that hands its state down
//! decides as a test of each path by itself does.
#![no_main]

use kiln_store::pattern::{MatchState, PatternMatcher, read_ignore_file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], Vec<&str>)| {
    let (text, mut names) = input;
    names.truncate(8);
    let Ok(patterns) = read_ignore_file(text) else {
        return;
    };
    let Ok(matcher) = PatternMatcher::new(&patterns) else {
        return;
    };

    let mut state = MatchState::default();
    let mut path = String::new();
    for name in names
        .iter()
        .filter(|name| !matches!(**name, "" | "." | "..") && !name.contains('/'))
    {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(name);
        let leaf = matcher.matches_under(&path, &state);
        let (entered, below) = matcher.enter(&path, &state);
        assert_eq!(leaf, entered);
        if !matcher.has_exceptions() {
            assert_eq!(entered, matcher.matches(&path));
        }
        state = below;
    }
});
