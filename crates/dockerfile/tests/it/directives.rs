//! Parser directives.

use kiln_dockerfile::directive::{DirectiveName, detect_syntax, find_directive};
use kiln_dockerfile::parse;

#[track_caller]
fn check_syntax(text: &str, expected: Option<(&str, &str, u32)>) {
    let found = detect_syntax(text.as_bytes());
    let found = found
        .as_ref()
        .map(|found| (found.first_word(), found.value.as_str(), found.line));
    assert_eq!(found, expected);
}

#[test]
fn the_syntax_directive() {
    check_syntax(
        "# syntax=docker/dockerfile:1\nFROM a",
        Some(("docker/dockerfile:1", "docker/dockerfile:1", 1)),
    );
    check_syntax(
        "#SYNTAX = a/b:c  --flag \r\nFROM a",
        Some(("a/b:c", "a/b:c  --flag", 1)),
    );
    check_syntax("\u{feff}# escape=`\n# syntax=a", Some(("a", "a", 2)));
    check_syntax("#!/usr/bin/env builder\n# syntax=a", Some(("a", "a", 2)));
    check_syntax("# syntax=a=b", Some(("a=b", "a=b", 1)));
}

#[test]
fn it_counts_only_at_the_top() {
    check_syntax("", None);
    check_syntax("FROM a\n# syntax=a", None);
    check_syntax("# comment\n# syntax=a", None);
    check_syntax("\n# syntax=a", None);
    check_syntax("# syntax=\nFROM a", None);
    check_syntax(" # syntax=a", None);
    check_syntax("# unknown=1\n# syntax=a", None);
    check_syntax("# escape=`\n# escape=`\n# syntax=a", None);
}

#[test]
fn other_file_formats() {
    check_syntax("// syntax=a b\nwhatever", Some(("a", "a b", 1)));
    check_syntax("#!/bin/x\n// syntax=a", Some(("a", "a", 2)));
    check_syntax("{\"syntax\": \"a\", \"b\": [1]}", Some(("a", "a", 1)));
    check_syntax("{\"syntax\": 1}", None);
    check_syntax("{\"syntax\": \"a\"", None);
}

#[test]
fn the_check_directive() {
    let text = b"# syntax=a\n# check=skip=A,B;error=true # why\nFROM a";
    let found = find_directive(DirectiveName::Check, text).unwrap();
    assert_eq!((found.first_word(), found.line), ("skip=A,B;error=true", 2));
    assert_eq!(
        find_directive(DirectiveName::Check, b"// check=skip=all"),
        None
    );
}

#[test]
fn a_parsed_file_has_them() {
    let file = parse(b"# Escape=`\n  # check=skip=all\n# syntax=late\n#comment\nFROM a").unwrap();
    let names: Vec<_> = file
        .directives
        .iter()
        .map(|directive| (directive.name.as_str(), directive.line))
        .collect();
    assert_eq!(names, [("escape", 1), ("check", 2), ("syntax", 3)]);
    assert_eq!(file.escape, '`');
    assert_eq!(file.stages[0].comments, ["comment"]);
}
