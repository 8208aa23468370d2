//! Lowering text made of instructions at random: it may fail, but it must not panic, ask twice or differ in two runs.

use crate::lowering::{Build, ask, try_lower};
use kiln_dockerfile::subrequest::Request;
use kiln_llb::Graph;
use proptest::collection::vec;
use proptest::prelude::*;

const WORDS: [&str; 16] = [
    "a",
    "/b/",
    "$A",
    "${B:-c}",
    "\"d e\"",
    "'$A'",
    ".",
    "../x",
    "s0",
    "s1",
    "--from=s0",
    "--mount=from=s1,target=/m",
    "--link",
    "--chown=$A:1",
    "https://h/r.git#x:y",
    "${A",
];
const KEYWORDS: [&str; 19] = [
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "LABEL",
    "WORKDIR",
    "USER",
    "EXPOSE",
    "VOLUME",
    "CMD",
    "ENTRYPOINT",
    "SHELL",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ONBUILD RUN",
    "ONBUILD COPY",
    "RUN --mount=type=cache,target=/c",
    "RUN --mount=type=secret,id=s",
];
const STAGES: [&str; 6] = [
    "FROM scratch AS s0",
    "FROM s0 AS s1",
    "FROM alpine AS s1",
    "FROM s1",
    "FROM --platform=$A s0 AS s2",
    "FROM ${A:-alpine}",
];

fn instruction() -> impl Strategy<Value = String> {
    let plain = (
        prop::sample::select(&KEYWORDS[..]),
        vec(prop::sample::select(&WORDS[..]), 1..4),
    );
    let plain = plain.prop_map(|(keyword, words)| format!("{keyword} {}", words.join(" ")));
    let stage = prop::sample::select(&STAGES[..]).prop_map(String::from);
    prop_oneof![6 => plain, 1 => stage]
}

fn text() -> impl Strategy<Value = String> {
    vec(instruction(), 0..12)
        .prop_map(|lines| format!("ARG A=x\nFROM scratch AS s0\n{}\n", lines.join("\n")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn lowering_is_total_and_repeatable(text in text()) {
        let image = r#"{"architecture":"amd64","os":"linux","config":{"OnBuild":["COPY --from=s0 a b"]},"rootfs":{"diff_ids":["sha256:x"]}}"#;
        let build = Build::new(&text).image("docker.io/library/alpine:latest", image);
        let outcome = try_lower(&build);
        if let Ok(lowered) = &outcome {
            prop_assert!(Graph::load(&lowered.definition).is_ok(), "the definition is no graph");
            let again = try_lower(&build).unwrap();
            prop_assert_eq!(&again.definition, &lowered.definition);
            prop_assert_eq!(&again.image, &lowered.image);
        }
        for request in [Request::Outline, Request::Lint, Request::Targets, Request::ConvertLlb] {
            let _ = ask(&build, request);
        }
    }
}
