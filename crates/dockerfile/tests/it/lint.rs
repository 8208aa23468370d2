//! The lint rules.

use crate::lowering::{Build, ask, failed, lowered, try_lower};
use kiln_dockerfile::lint::{LintConfig, Linter, Selection, rules};
use kiln_dockerfile::subrequest::Request;
use kiln_dockerfile::{Location, Options, lint_part};

/// A build whose images `a` and `c` are empty ones for Linux.
fn build(text: &str, options: &str) -> Build {
    let config = r#"{"os": "linux", "architecture": "amd64"}"#;
    Build::new(text)
        .attr("platform", "linux/amd64")
        .attr("build-arg:BUILDKIT_DOCKERFILE_CHECK", options)
        .image("docker.io/library/a:latest", config)
        .image("docker.io/library/c:latest", config)
}

/// The warnings of a build.
fn warnings(text: &str, options: &str) -> Vec<String> {
    let lowered = lowered(&build(text, options));
    lowered
        .warnings
        .iter()
        .map(|warning| warning.short())
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(warnings(text, "experimental=all"), expected);
}

#[test]
fn a_good_file() {
    check(
        "# base is the base\nFROM a AS base\n# A is an argument\nARG A\nWORKDIR /b\nWORKDIR c\nENV D=e\nCMD [\"f\"]\nFROM base\nCMD [\"g\"]",
        &[],
    );
}

#[test]
fn casing() {
    check(
        "FROM a AS B",
        &["StageNameCasing: Stage name 'B' should be lowercase (line 1)"],
    );
    check(
        "FROM a as b",
        &["FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"],
    );
    check(
        "from a As b",
        &["FromAsCasing: 'As' and 'from' keywords' casing do not match (line 1)"],
    );
    check(
        "from a as b\nrun c\nRUN d",
        &[
            "ConsistentInstructionCasing: Command 'RUN' should match the case of the command majority (lowercase) (line 3)",
        ],
    );
    check(
        "FROM a\nrun c",
        &[
            "ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase) (line 2)",
        ],
    );
    check(
        "From a as b\nRUN c",
        &[
            "ConsistentInstructionCasing: Command 'From' should match the case of the command majority (uppercase) (line 1)",
        ],
    );
}

#[test]
fn stage_names() {
    check(
        "FROM a AS b\nFROM c AS b",
        &["DuplicateStageName: Duplicate stage name \"b\", stage names should be unique (line 2)"],
    );
    check(
        "FROM a AS scratch",
        &[
            "ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\" (line 1)",
        ],
    );
}

#[test]
fn empty_continuations() {
    check(
        "FROM a\nRUN b \\\n\n  c",
        &["NoEmptyContinuation: Empty continuation line (line 4)"],
    );
}

#[test]
fn descriptions() {
    check(
        "# other text\nFROM a AS b",
        &[
            "InvalidDefinitionDescription: Comment for FROM should follow the format: `# b <description>` (line 2)",
        ],
    );
    check(
        "FROM a\n# text\nARG A",
        &[
            "InvalidDefinitionDescription: Comment for ARG should follow the format: `# A <description>` (line 3)",
        ],
    );
    check(
        "FROM a\n# text\nARG A B",
        &[
            "InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>` (line 3)",
        ],
    );
    check("# text\nFROM a", &[]);
    assert_eq!(warnings("# other text\nFROM a AS b", ""), [""; 0]);
}

#[test]
fn instructions_of_a_stage() {
    check(
        "FROM a\nMAINTAINER b",
        &[
            "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)",
        ],
    );
    check(
        "FROM a\nWORKDIR b\nWORKDIR c",
        &[
            "WorkdirRelativePath: Relative workdir \"b\" can have unexpected results if the base image changes (line 2)",
        ],
    );
    check(
        "FROM a\nENV A b\nLABEL c d",
        &[
            "LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format (line 2)",
            "LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format (line 3)",
        ],
    );
    check(
        "FROM a\nENTRYPOINT b",
        &[
            "JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals (line 2)",
        ],
    );
    check(
        "FROM a\nCMD [\"a\"]\nHEALTHCHECK NONE\nCMD [\"b\"]\nHEALTHCHECK CMD c",
        &[
            "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used (line 2)",
            "MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used (line 3)",
        ],
    );
    check(
        "FROM a\nARG A_TOKEN\nENV PASSWORD=b",
        &[
            "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"A_TOKEN\") (line 2)",
            "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"PASSWORD\") (line 3)",
        ],
    );
}

#[test]
fn secret_names() {
    let warns = |name: &str| !warnings(&format!("FROM a\nENV {name}=b"), "").is_empty();
    for name in ["KEY", "api_key", "GITHUB_TOKEN", "secret_a", "A_auth_B"] {
        assert!(warns(name), "{name}");
    }
    for name in ["KEYS", "MONKEY", "PUBLIC_KEY", "TOKEN_FILE", "key_version"] {
        assert!(!warns(name), "{name}");
    }
}

#[test]
fn variables_and_platforms() {
    check(
        "FROM a\nARG FOO=1\nRUN b\nUSER $FO",
        &["UndefinedVar: Usage of undefined variable '$FO' (did you mean $FOO?) (line 4)"],
    );
    check(
        "ARG TAG\nFROM a$TAGS",
        &["UndefinedArgInFrom: FROM argument 'TAGS' is not declared (did you mean TAG?) (line 2)"],
    );
    check(
        "FROM --platform=$TARGETPLATFORM a",
        &[
            "RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior (line 1)",
        ],
    );
    check(
        "FROM --platform=linux/amd64 a",
        &[
            "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\" (line 1)",
        ],
    );
    check("FROM --platform=linux/amd64 a AS b-amd64", &[]);
}

#[test]
fn ports() {
    check(
        "FROM a\nEXPOSE 80/TCP 1:2",
        &[
            "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '1:2' (line 2)",
            "ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase (line 2)",
        ],
    );
}

#[test]
fn sources_that_are_ignored() {
    let text = "FROM a\nCOPY x.md b d /e/\nADD c/f /g";
    let warnings = |ignored: &'static str| -> Vec<String> {
        let build = Build {
            ignore: Some(ignored.into()),
            ..build(text, "")
        };
        lowered(&build)
            .warnings
            .iter()
            .map(|warning| warning.short())
            .collect()
    };
    assert_eq!(warnings("# nothing\n"), [""; 0]);
    assert_eq!(
        warnings("*.md\n/c/\n"),
        [
            "CopyIgnoredFile: Attempting to Copy file \"x.md\" that is excluded by .dockerignore (line 2)",
            "CopyIgnoredFile: Attempting to Add file \"c/f\" that is excluded by .dockerignore (line 3)",
        ]
    );
    // With exceptions there is no telling.
    assert_eq!(warnings("*.md\n!y.md\n"), [""; 0]);

    let broken = Build {
        ignore: Some("a\n!\n".into()),
        ..build(text, "")
    };
    assert_eq!(
        try_lower(&broken).unwrap_err(),
        "failed parsing .dockerignore: illegal exclusion pattern: \"!\""
    );
}

#[test]
fn what_fails_is_judged_up_to_there() {
    let build = |command: &str| build(&format!("FROM scratch AS B\n{command}"), "");
    let failed = failed(&build("WORKDIR c\nWORKDIR ${d?must be}"));
    let found = failed.warnings.iter().map(|warning| warning.rule.name);
    assert_eq!(
        found.collect::<Vec<_>>(),
        ["StageNameCasing", "WorkdirRelativePath"]
    );
    for (request, expected) in [
        (Request::Outline, 1),
        (Request::ConvertLlb, 1),
        // These answer with the warnings, or with none.
        (Request::Lint, 0),
        (Request::Targets, 0),
    ] {
        let answer = ask(&build("WORKDIR /c"), request).unwrap();
        assert_eq!(answer.warnings.len(), expected, "{request:?}");
    }
}

#[test]
fn what_does_not_parse_is_judged_up_to_there() {
    let text = "FROM a AS B\nMAINTAINER c\nRUM d\nMAINTAINER e";
    let found = |skip: &str| -> Vec<String> {
        let check = (
            "build-arg:BUILDKIT_DOCKERFILE_CHECK".to_owned(),
            skip.to_owned(),
        );
        let options = Options::from_attrs(&[check].into()).unwrap();
        let warnings = lint_part(text.as_bytes(), &options);
        warnings.iter().map(|warning| warning.short()).collect()
    };
    let maintainer = "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 2)";
    assert_eq!(
        found(""),
        [
            "StageNameCasing: Stage name 'B' should be lowercase (line 1)",
            maintainer
        ]
    );
    assert_eq!(found("skip=StageNameCasing"), [maintainer]);
}

#[test]
fn rules_can_be_skipped() {
    let text = "FROM a AS B\n# check=skip=JSONArgsRecommended\nCMD b\nMAINTAINER c";
    let names = |options: &str| -> Vec<String> {
        warnings(text, options)
            .iter()
            .map(|text| text.split(':').next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(""), ["StageNameCasing", "MaintainerDeprecated"]);
    assert_eq!(
        names("skip=MaintainerDeprecated, Other"),
        ["StageNameCasing"]
    );
    assert_eq!(names("skip=all"), [""; 0]);
}

#[test]
fn options() {
    let parsed = LintConfig::parse(" skip=A, B ; experimental=all;error=1 ").unwrap();
    assert_eq!(
        parsed.skip,
        Selection::Rules(vec!["A".to_owned(), "B".to_owned()])
    );
    assert_eq!(parsed.experimental, Selection::All);
    assert!(parsed.return_as_error);
    assert_eq!(LintConfig::parse(""), Ok(LintConfig::default()));

    let error = |options: &str| LintConfig::parse(options).unwrap_err().to_string();
    assert_eq!(error("skip"), "invalid check option \"skip\"");
    assert_eq!(error("skp=A"), "invalid check option \"skp\"");
    let bad = "failed to parse check option \"error=x\": strconv.ParseBool: parsing \"x\": invalid syntax";
    assert_eq!(error("error=x"), bad);
}

#[test]
fn warnings_can_be_errors() {
    let mut linter =
        Linter::new(LintConfig::parse("skip=MaintainerDeprecated;error=true").unwrap());
    linter.report(rules::maintainer_deprecated(), Location::line(1), &[]);
    assert_eq!(linter.verdict(), Ok(()));
    for path in ["a", "b"] {
        linter.report(rules::workdir_relative_path(path), Location::line(2), &[]);
    }
    linter.report(rules::undefined_var("A", Some("B")), Location::line(3), &[]);
    assert_eq!(
        linter.verdict().unwrap_err().to_string(),
        "lint violation found for rules: WorkdirRelativePath, UndefinedVar"
    );
    let mut lenient = Linter::default();
    lenient.report(rules::maintainer_deprecated(), Location::line(1), &[]);
    assert_eq!(lenient.verdict(), Ok(()));
}

#[test]
fn messages_of_the_rules_that_lowering_applies() {
    let messages = [
        rules::undefined_arg_in_from("A", None),
        rules::undefined_arg_in_from("A", Some("B")),
        rules::undefined_var("A", Some("B")),
        rules::invalid_base_image_platform("a", "linux/amd64", "linux/arm64"),
        rules::redundant_target_platform("$TARGETPLATFORM"),
        rules::invalid_default_arg_in_from("$A"),
        rules::from_platform_flag_const_disallowed("linux/amd64"),
        rules::copy_ignored_file("Copy", "a"),
        rules::expose_proto_casing("80/TCP"),
        rules::expose_invalid_format("1:2"),
    ];
    let messages: Vec<_> = messages
        .iter()
        .map(|found| found.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "FROM argument 'A' is not declared",
            "FROM argument 'A' is not declared (did you mean B?)",
            "Usage of undefined variable '$A' (did you mean $B?)",
            "Base image a was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build",
            "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            "Default value for ARG $A results in empty or invalid base image name",
            "FROM --platform flag should not use constant value \"linux/amd64\"",
            "Attempting to Copy file \"a\" that is excluded by .dockerignore",
            "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
            "EXPOSE instruction should not define an IP address or host-port mapping, found '1:2'",
        ]
    );
}

#[test]
fn the_table_is_complete() {
    let mut names: Vec<_> = rules::ALL.iter().map(|rule| rule.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 22);
    let experimental: Vec<_> = rules::ALL
        .iter()
        .filter(|rule| rule.experimental)
        .map(|rule| rule.name)
        .collect();
    assert_eq!(experimental, ["InvalidDefinitionDescription"]);
}
