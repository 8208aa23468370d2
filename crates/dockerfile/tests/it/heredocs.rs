//! Heredocs in `RUN`, `COPY`, `ADD`.

use kiln_dockerfile::heredoc::{chomp, parse_word};
use kiln_dockerfile::instruction::{Command, Sources};
use kiln_dockerfile::parse;

fn commands(text: &str) -> Vec<Command> {
    let file = parse(format!("FROM a\n{text}").as_bytes()).unwrap();
    file.stages[0]
        .commands
        .iter()
        .map(|command| command.value.clone())
        .collect()
}

fn sources(text: &str) -> Sources {
    match commands(text).remove(0) {
        Command::Copy(copy) => copy.sources,
        Command::Add(add) => add.sources,
        other => panic!("{other:?}"),
    }
}

/// Name, body, and whether it is expanded, of each inline file.
fn contents(text: &str) -> Vec<(String, String, bool)> {
    sources(text)
        .contents
        .into_iter()
        .map(|content| (content.path, content.data, content.expand))
        .collect()
}

fn content(path: &str, data: &str, expand: bool) -> (String, String, bool) {
    (path.to_owned(), data.to_owned(), expand)
}

#[test]
fn a_run_script() {
    let commands = commands("RUN <<EOF\nset -e\n# not a comment\n  a \\\nb\nEOF\nRUN c");
    assert_eq!(commands.len(), 2);
    let Command::Run(run) = &commands[0] else {
        panic!()
    };
    assert_eq!(run.command.args, ["<<EOF"]);
    let [file] = run.command.files.as_slice() else {
        panic!()
    };
    assert_eq!((file.name.as_str(), file.chomp), ("EOF", false));
    assert_eq!(file.data, "set -e\n# not a comment\n  a \\\nb\n");
}

#[test]
fn several_to_one_command() {
    let Command::Run(run) = commands("RUN a 3<<ONE <<-\"TWO\" | b\n1\nONE\n\t2\n\tTWO\n").remove(0)
    else {
        panic!()
    };
    assert_eq!(run.command.args, ["a 3<<ONE <<-\"TWO\" | b"]);
    let files: Vec<_> = run
        .command
        .files
        .iter()
        .map(|file| (file.name.as_str(), file.data.as_str(), file.chomp))
        .collect();
    assert_eq!(files, [("ONE", "1\n", false), ("TWO", "\t2\n", true)]);
}

#[test]
fn inline_files() {
    let text = "COPY <<a.txt b <<-'c.txt' /d/\n$X\na.txt\n\t$Y\n\t\tz\n\tc.txt\n";
    assert_eq!(
        contents(text),
        [
            content("a.txt", "$X\n", true),
            content("c.txt", "$Y\nz\n", false)
        ]
    );
    assert_eq!(sources(text).paths, ["b"]);
    assert_eq!(sources(text).destination, "/d/");
    assert_eq!(contents("ADD <<\"E\" f\n\nE"), [content("E", "\n", false)]);
    assert_eq!(contents("COPY <<E f\nE"), [content("E", "", true)]);
}

#[test]
fn windows_line_ends_do_not_hide_the_end() {
    assert_eq!(
        contents("COPY <<E f\r\na\r\nE\r\nRUN b"),
        [content("E", "a\r\n", true)]
    );
}

#[test]
fn what_is_no_heredoc() {
    for text in [
        "RUN a '<<E'",
        "RUN echo a<",
        "CMD a <<E",
        "RUN [\"a\", \"<<E\"]",
        "RUN a <<<b",
        "ENV A <<E",
    ] {
        assert_eq!(commands(&format!("{text}\nRUN b")).len(), 2, "{text}");
    }
}

#[test]
fn onbuild_has_them_where_its_trigger_has() {
    assert_eq!(commands("ONBUILD RUN <<E\na\nE\nRUN b").len(), 2);
    assert_eq!(commands("ONBUILD CMD <<E\nRUN b").len(), 2);
}

#[test]
fn words() {
    let word = |text: &str| {
        parse_word(text)
            .unwrap()
            .map(|word| (word.name, word.expand, word.chomp))
    };
    assert_eq!(word("<<E"), Some(("E".to_owned(), true, false)));
    assert_eq!(word("5<<-E"), Some(("E".to_owned(), true, true)));
    assert_eq!(word("<<E\"O\"F"), Some(("EOF".to_owned(), false, false)));
    assert_eq!(word("<<$E"), Some(("$E".to_owned(), true, false)));
    for none in ["<E", "<<", "<<-", "<<E F", "a<<E", "<<E<F", ""] {
        assert_eq!(word(none), None, "{none}");
    }
    assert!(parse_word("<<'E").is_err());
    assert_eq!(chomp("\ta\n\t\tb \t\n c\n\t"), "a\nb \t\n c\n");
}
