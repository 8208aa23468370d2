//! Whatever bytes come, nothing panics, and what is read agrees with the text.

use kiln_dockerfile::instruction::MountFlag;
use kiln_dockerfile::lint::{Linter, check_syntax};
use kiln_dockerfile::shell::{Escapes, Lexer, NoVariables, Quotes, Unset};
use kiln_dockerfile::{Command, Dockerfile, parse};
use proptest::prelude::*;

/// Text made of the pieces that the grammar cares about.
fn dockerfile_text() -> impl Strategy<Value = String> {
    let pieces = [
        "FROM ",
        "RUN ",
        "COPY ",
        "ENV ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "ARG ",
        "a",
        "b=c",
        " ",
        "\n",
        "\r\n",
        "\\\n",
        "\\",
        "`",
        "#",
        "# check=skip=all\n",
        "# escape=`\n",
        "<<E",
        "<<-'E'",
        "E\n",
        "\tE\n",
        "--from=",
        "--mount=",
        "type=cache,",
        "\"",
        "'",
        "[\"a\"]",
        "[",
        "$",
        "${A:-",
        "}",
        "é",
        "\u{a0}",
        "AS ",
        "CMD ",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40)
        .prop_map(|pieces| pieces.concat())
}

fn word() -> impl Strategy<Value = String> {
    let pieces = [
        "$", "{", "}", "A", "B", ":", "-", "+", "?", "#", "%", "/", "*", "\\", "\"", "'", " ", "<",
        "é", "a",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24)
        .prop_map(|pieces| pieces.concat())
}

fn lexer() -> impl Strategy<Value = Lexer> {
    (
        prop::sample::select(vec!['\\', '`']),
        prop::sample::select(vec![Quotes::Remove, Quotes::Keep, Quotes::Literal]),
        prop::sample::select(vec![Escapes::Remove, Escapes::Keep]),
        prop::sample::select(vec![Unset::Empty, Unset::Keep]),
    )
        .prop_map(|(escape, quotes, escapes, unset)| Lexer {
            escape,
            quotes,
            escapes,
            unset,
        })
}

fn exercise(file: &Dockerfile, lines: u32) {
    check_syntax(file, &mut Linter::default());
    let mut last = 0;
    for stage in &file.stages {
        assert!(stage.location.first > last && stage.location.last <= lines);
        last = stage.location.last;
        for command in &stage.commands {
            assert!(command.location.first > last && command.location.last <= lines);
            last = command.location.last;
            if let Command::Run(run) = &command.value {
                for mount in &run.mounts {
                    let _ = MountFlag::evaluate::<kiln_dockerfile::instruction::MountError>(
                        mount,
                        &mut |value| Ok(value.to_owned()),
                    );
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_can_be_read(text in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&text);
    }

    #[test]
    fn likely_text_can_be_read(text in dockerfile_text()) {
        let lines = u32::try_from(text.matches('\n').count()).unwrap() + 1;
        match parse(text.as_bytes()) {
            Ok(file) => exercise(&file, lines),
            Err(error) => {
                let _ = error.to_string();
                if let Some(location) = error.location {
                    prop_assert!(location.first >= 1 && location.last <= lines);
                    prop_assert!(error.excerpt("Dockerfile", text.as_bytes()).is_some());
                }
            }
        }
    }

    #[test]
    fn any_word_can_be_expanded(text in prop_oneof![word(), any::<String>()], lexer in lexer()) {
        let variables = [("A".to_owned(), "a*b/c \u{e9}".to_owned()), ("B".to_owned(), String::new())];
        match lexer.expand(&text, variables.as_slice()) {
            Ok(_) => prop_assert!(lexer.words(&text, variables.as_slice()).is_ok()),
            Err(error) => prop_assert!(error.to_string().contains("failed to process")),
        }
        let _ = lexer.expand(&text, &NoVariables);
    }

    #[test]
    fn text_without_special_characters_expands_to_itself(text in "[a-z0-9 .:=,/-]*") {
        prop_assert_eq!(Lexer::new('\\').expand(&text, &NoVariables).unwrap().text, text);
    }
}
