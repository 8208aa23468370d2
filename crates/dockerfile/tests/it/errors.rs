//! Errors: the text and the lines of each.

use kiln_dockerfile::{Location, parse, parse_trigger};

use crate::lowering::{Build, failed};

/// The error of `text`, with its lines in front.
fn error(text: &str) -> String {
    let error = parse(text.as_bytes()).unwrap_err();
    let place = error.location.map_or("-".to_owned(), |location| {
        format!("{}-{}", location.first, location.last)
    });
    format!("{place}: {error}")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(error(text), expected);
}

/// An instruction on lines two and later of a file.
#[track_caller]
fn check_instruction(text: &str, expected: &str) {
    check(
        &format!("FROM a\n{text}"),
        &format!("2-2: dockerfile parse error on line 2: {expected}"),
    );
}

#[test]
fn the_file_as_a_whole() {
    check("", "-: the Dockerfile cannot be empty");
    check("# a\n\n", "2-2: file with no instructions");
    check("ARG A", "-: dockerfile contains no stages to build");
    check(
        "ARG A\nRUN b\nFROM c",
        "2-2: no build stage in current context",
    );
}

#[test]
fn directives() {
    check(
        "# escape=x\nFROM a",
        "1-1: invalid escape token 'x' does not match ` or \\",
    );
    check(
        "# syntax=a\n# syntax=b\nFROM a",
        "2-2: only one syntax parser directive can be used",
    );
}

#[test]
fn lines_have_a_limit() {
    let longest = format!("FROM a\nRUN {}", "b".repeat(64 * 1024 - 5));
    assert!(parse(longest.as_bytes()).is_ok());
    check(
        &format!("{longest}b"),
        "2-2: dockerfile line greater than max allowed size of 65535",
    );
}

#[test]
fn heredocs() {
    check("FROM a\nRUN <<E\nb\n", "2-3: unterminated heredoc");
    check("FROM a\nRUN \\\n <<E\nb", "2-4: unterminated heredoc");
    check(
        "FROM a\nCOPY a <<E\nE",
        "2-3: dockerfile parse error on line 2: COPY cannot accept a heredoc as a destination",
    );
}

#[test]
fn words() {
    check("FROM a\nENV A", "2-2: ENV must have two arguments");
    check(
        "FROM a\nLABEL a=b c",
        "2-2: Syntax error - can't find = in \"c\". Must be of the form: name=value",
    );
    let array = "when using JSON array syntax, arrays must be comprised of strings only";
    check("FROM a\nCMD [\"a\", 1]", &format!("2-2: {array}"));
    check("FROM a\nCOPY [[], null]", &format!("2-2: {array}"));
}

#[test]
fn checksums() {
    for (checksum, expected) in [
        (
            "md5:00",
            "unsupported digest algorithm: md5; use sha256, sha384 or sha512",
        ),
        (
            "sha256",
            "invalid checksum digest format: sha256; write it like sha256:<64 hexadecimal digits>",
        ),
    ] {
        let text = format!("FROM scratch\nADD --checksum={checksum} https://example.com/a /");
        let error = failed(&Build::new(&text));
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.locations, [Location { first: 2, last: 2 }]);
    }
}

#[test]
fn unknown_instructions() {
    check_instruction("RUM b", "unknown instruction: RUM (did you mean RUN?)");
    check_instruction(
        "wrkdir b",
        "unknown instruction: wrkdir (did you mean workdir?)",
    );
    check_instruction("INSTALL b", "unknown instruction: INSTALL");
    check(
        "FROM a\nRUN b\n&& c",
        "3-3: dockerfile parse error on line 3: unknown instruction: &&",
    );
}

#[test]
fn flags() {
    check_instruction(
        "COPY --form=b c d",
        "unknown flag: --form (did you mean from?)",
    );
    check_instruction("ADD --from=b c d", "unknown flag: --from");
    check_instruction("USER --a b", "unknown flag: --a");
    check_instruction(
        "COPY --from=b --from=c d e",
        "duplicate flag specified: --from",
    );
    check_instruction("COPY --from d e", "missing a value on flag: --from");
    check_instruction("COPY --link= d e", "missing a value on flag: --link");
    check_instruction(
        "COPY --link=x d e",
        "expecting boolean value for flag --link, not: x",
    );
    check_instruction("COPY --exclude d e", "missing a value on flag: --exclude");
    check_instruction("RUN --network=x d", "invalid network mode \"x\"");
    check_instruction("RUN --security=x d", "security \"x\" is not valid");
}

#[test]
fn from() {
    check(
        "FROM",
        "1-1: dockerfile parse error on line 1: FROM requires either one or three arguments",
    );
    check(
        "FROM a b",
        "1-1: dockerfile parse error on line 1: FROM requires either one or three arguments",
    );
    check(
        "FROM a AT b",
        "1-1: dockerfile parse error on line 1: FROM requires either one or three arguments",
    );
    check(
        "FROM a AS 1b",
        "1-1: dockerfile parse error on line 1: invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
    );
}

#[test]
fn arguments() {
    for keyword in [
        "ARG",
        "ENV",
        "LABEL",
        "EXPOSE",
        "VOLUME",
        "ONBUILD",
        "HEALTHCHECK",
        "SHELL",
    ] {
        check_instruction(
            keyword,
            &format!("{keyword} requires at least one argument"),
        );
    }
    for keyword in ["MAINTAINER", "STOPSIGNAL", "USER", "WORKDIR"] {
        check_instruction(keyword, &format!("{keyword} requires exactly one argument"));
    }
    for keyword in ["ADD", "COPY"] {
        let text = "requires at least two arguments, but only one was provided. Destination could not be determined";
        check_instruction(&format!("{keyword} b"), &format!("{keyword} {text}"));
    }
    check_instruction("ARG =b", "ARG names can not be blank");
    check_instruction("ENV =b", "ENV names can not be blank");
    check_instruction(
        "VOLUME [\" \"]",
        "VOLUME specified can not be an empty string",
    );
    check_instruction(
        "SHELL a -c",
        "SHELL requires the arguments to be in JSON form",
    );
}

#[test]
fn onbuild() {
    check_instruction(
        "ONBUILD onbuild RUN a",
        "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    );
    check_instruction("ONBUILD from a", "FROM isn't allowed as an ONBUILD trigger");
    check_instruction(
        "ONBUILD MAINTAINER a",
        "MAINTAINER isn't allowed as an ONBUILD trigger",
    );
    let chain = "ONBUILD ".repeat(8000);
    check_instruction(
        &format!("{chain}RUN a"),
        "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    );
}

#[test]
fn triggers() {
    let error = |text: &str| {
        let error = parse_trigger(text, Location::line(5)).unwrap_err();
        assert_eq!(error.location, Some(Location::line(5)));
        error.to_string()
    };
    assert_eq!(
        error("RUN a\nRUN b"),
        "onbuild trigger should be a single expression"
    );
    assert_eq!(error("INSTALL a"), "unknown instruction: INSTALL");
    assert_eq!(error("FROM a"), "FROM isn't allowed as an ONBUILD trigger");
    assert_eq!(error("RUN <<A\na"), "unterminated heredoc");
}

#[test]
fn healthcheck() {
    check_instruction("HEALTHCHECK NONE a", "HEALTHCHECK NONE takes no arguments");
    check_instruction("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD");
    check_instruction(
        "HEALTHCHECK curl a",
        "Unknown type \"CURL\" in HEALTHCHECK (try CMD)",
    );
    check_instruction(
        "HEALTHCHECK --interval=1us CMD a",
        "Interval \"interval\" cannot be less than 1ms",
    );
    check_instruction(
        "HEALTHCHECK --timeout=-1s CMD a",
        "Interval \"timeout\" cannot be less than 1ms",
    );
    check_instruction(
        "HEALTHCHECK --timeout=x CMD a",
        "time: invalid duration \"x\"",
    );
    check_instruction(
        "HEALTHCHECK --timeout=5 CMD a",
        "time: missing unit in duration \"5\"",
    );
    check_instruction(
        "HEALTHCHECK --timeout=5y CMD a",
        "time: unknown unit \"y\" in duration \"5y\"",
    );
    check_instruction(
        "HEALTHCHECK --timeout=9999999h CMD a",
        "time: invalid duration \"9999999h\"",
    );
    check_instruction(
        "HEALTHCHECK --retries=x CMD a",
        "strconv.ParseInt: parsing \"x\": invalid syntax",
    );
    check_instruction(
        "HEALTHCHECK --retries=-1 CMD a",
        "--retries cannot be negative (-1)",
    );
}

#[test]
fn devices() {
    check_instruction(
        "RUN --device=a,b c",
        "invalid field 'b' must be a key=value pair",
    );
    check_instruction(
        "RUN --device=name=a,name=b c",
        "device name already set to a",
    );
    check_instruction(
        "RUN --device=a,nam=b c",
        "unexpected key 'nam' in 'nam=b' (did you mean name?)",
    );
    check_instruction(
        "RUN --device=a,required=b c",
        "invalid value for required: b",
    );
    check_instruction("RUN --device= c", "failed to parse csv devices: EOF");
}
