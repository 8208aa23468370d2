//! Lines, continuations, comments: where an instruction starts and ends and what belongs to it.

use kiln_dockerfile::{Dockerfile, parse};

/// One line per instruction: its lines, its text, the comments above.
fn outline(file: &Dockerfile) -> String {
    let mut out = String::new();
    let mut push = |location: kiln_dockerfile::Location, source: &str, comments: &[String]| {
        out.push_str(&format!("{}-{} {source}", location.first, location.last));
        if !comments.is_empty() {
            out.push_str(&format!(" # {}", comments.join(" | ")));
        }
        out.push('\n');
    };
    for arg in &file.meta_args {
        push(arg.location, &arg.source, &arg.comments);
    }
    for stage in &file.stages {
        push(stage.location, &stage.source, &stage.comments);
        for command in &stage.commands {
            push(command.location, &command.source, &command.comments);
        }
    }
    out
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let file = parse(text.as_bytes()).unwrap();
    assert_eq!(outline(&file), expected);
}

#[test]
fn one_line_each() {
    check(
        "FROM a\nRUN b\n\n  run  c  \n",
        "1-1 FROM a\n2-2 RUN b\n4-4 run  c\n",
    );
}

#[test]
fn arguments_before_the_first_stage() {
    check(
        "ARG A\nARG B=1 C\nFROM $A\nARG D",
        "1-1 ARG A\n2-2 ARG B=1 C\n3-3 FROM $A\n4-4 ARG D\n",
    );
}

#[test]
fn continuations_keep_their_indentation_and_lose_their_comments() {
    check(
        "FROM a\nRUN b \\\n    c \\  \n# comment\n   # indented\n  && d\nRUN e",
        "1-1 FROM a\n2-6 RUN b     c   && d\n7-7 RUN e\n",
    );
}

#[test]
fn a_doubled_escape_at_the_end_does_not_continue() {
    check(
        "FROM a\nRUN b \\\\\nRUN c",
        "1-1 FROM a\n2-2 RUN b \\\\\n3-3 RUN c\n",
    );
}

#[test]
fn a_continuation_at_the_end_of_the_file_ends_there() {
    check("FROM a\nRUN b \\", "1-1 FROM a\n2-2 RUN b\n");
    check("FROM a\nRUN b \\\n", "1-1 FROM a\n2-2 RUN b\n");
}

#[test]
fn a_keyword_may_be_continued_too() {
    check("FROM a\nRU\\\nN b\n", "1-1 FROM a\n2-3 RUN b\n");
    check("FROM a\n\\\nRUN b\n", "1-1 FROM a\n2-3 RUN b\n");
}

#[test]
fn the_escape_directive_changes_what_continues() {
    check(
        "# escape=`\nFROM a\nRUN b `\n c\\\nRUN d",
        "2-2 FROM a\n3-4 RUN b  c\\\n5-5 RUN d\n",
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark() {
    check(
        "\u{feff}FROM a\r\nRUN b \\\r\n  c\r\n",
        "1-1 FROM a\n2-3 RUN b   c\n",
    );
}

#[test]
fn empty_lines_in_a_continuation_are_dropped_and_noted() {
    let file = parse(b"FROM a\nRUN b \\\n\n  \n c\nRUN d").unwrap();
    assert_eq!(outline(&file), "1-1 FROM a\n2-5 RUN b  c\n6-6 RUN d\n");
    let lines: Vec<_> = file
        .empty_continuations
        .iter()
        .map(|location| (location.first, location.last))
        .collect();
    assert_eq!(lines, [(5, 5)]);
}

#[test]
fn comments_belong_to_what_follows_unless_an_empty_one_cuts_them_off() {
    check(
        "# syntax=a\n# one\n#   two\nFROM a\n# three\n#\n# four\n\nRUN b\n# five",
        "4-4 FROM a # one | two\n9-9 RUN b # four\n",
    );
}

#[test]
fn bytes_that_are_not_utf8_do_not_stop_a_build() {
    let file = parse(b"# caf\xe9\nFROM a\n").unwrap();
    assert_eq!(outline(&file), "2-2 FROM a # caf\u{fffd}\n");
}

#[test]
fn a_large_file_is_read() {
    let mut text = String::from("FROM a\nRUN true");
    for _ in 0..100_000 {
        text.push_str(" && \\\n  echo some more text");
    }
    text.push('\n');
    text.push_str(&"COPY a b \"c d\" /e\nENV A=b C=\"d e\"\n".repeat(50_000));
    let file = parse(text.as_bytes()).unwrap();
    assert_eq!(file.stages[0].commands.len(), 100_001);
}
