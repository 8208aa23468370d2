//! The lines shown below an error.

use kiln_dockerfile::error::{Excerpt, quoted};
use kiln_dockerfile::{Location, parse};

#[track_caller]
fn check(text: &str, first: u32, last: u32, expected: &str) {
    let excerpt =
        Excerpt::new("Dockerfile", text.as_bytes(), &[Location::new(first, last)]).unwrap();
    assert_eq!(excerpt.to_string(), expected);
}

#[test]
fn one_line_has_more_context_than_several() {
    let text = "1\n2\n3\n4\n5\n6\n7\n";
    check(
        text,
        4,
        4,
        "Dockerfile:4\n--------------------\n   2 |     2\n   3 |     3\n   4 | >>> 4\n   5 |     5\n   6 |     6\n--------------------\n",
    );
    check(
        text,
        4,
        5,
        "Dockerfile:4\n--------------------\n   3 |     3\n   4 | >>> 4\n   5 | >>> 5\n   6 |     6\n--------------------\n",
    );
}

#[test]
fn the_ends_of_a_file() {
    check(
        "a\nb\r\nc",
        1,
        1,
        "Dockerfile:1\n--------------------\n   1 | >>> a\n   2 |     b\n   3 |     c\n--------------------\n",
    );
    check(
        "a",
        1,
        9,
        "Dockerfile:1\n--------------------\n   1 | >>> a\n--------------------\n",
    );
    assert_eq!(Excerpt::new("Dockerfile", b"a", &[Location::line(2)]), None);
    assert_eq!(Excerpt::new("Dockerfile", b"a", &[Location::line(0)]), None);
    assert_eq!(Excerpt::new("Dockerfile", b"a", &[]), None);
}

#[test]
fn an_error_shows_its_lines() {
    let text = b"FROM a\nRUN b\nCPY c d\n";
    let error = parse(text).unwrap_err();
    assert_eq!(
        error
            .excerpt("images/Dockerfile", text)
            .unwrap()
            .to_string(),
        "images/Dockerfile:3\n--------------------\n   1 |     FROM a\n   2 |     RUN b\n   3 | >>> CPY c d\n   4 |     \n--------------------\n"
    );
}

#[test]
fn quotes_are_those_of_go() {
    for (text, expected) in [
        ("a'b\"c\\", r#""a'b\"c\\""#),
        ("\t\n\r\x07\x00\x7f", r#""\t\n\r\a\x00\x7f""#),
        (
            "é\u{301}\u{ad}\u{a0}\u{1f600}\u{e0001}",
            "\"é\u{301}\\u00ad\\u00a0\u{1f600}\\U000e0001\"",
        ),
    ] {
        assert_eq!(quoted(text), expected);
    }
}
