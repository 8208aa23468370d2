//! Where the Dockerfile and the build context come from.

use crate::lowering::{Build, lowered};
use bytes::Bytes;
use kiln_dockerfile::{
    Answer, DockerfileLocation, Known, Lowering, Options, Question, Source, load_dockerfile, lower,
};
use kiln_llb::build::{HttpOptions, MarshalOptions, State};
use kiln_llb::pb::{self, op};
use kiln_llb::{Definition, Graph};
use prost::Message as _;
use std::collections::BTreeMap;

fn options(pairs: &[(&str, &str)]) -> Options {
    let attrs: BTreeMap<String, String> = pairs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    Options::from_attrs(&attrs).unwrap().with_session("s")
}

fn sources(definition: &Definition) -> Vec<pb::SourceOp> {
    let ops =
        definition
            .ops
            .iter()
            .filter_map(|bytes| match pb::Op::decode(bytes.clone()).unwrap().op {
                Some(op::Op::Source(source)) => Some(source),
                _ => None,
            });
    ops.collect()
}

/// Where the Dockerfile is when downloads start with `header`.
fn location(options: &Options, header: &[u8]) -> (Definition, String) {
    let mut known = Known::new();
    loop {
        match load_dockerfile(options, &known).unwrap() {
            DockerfileLocation::At {
                definition,
                filename,
            } => return (definition, filename),
            DockerfileLocation::Needs(questions) => {
                for question in questions {
                    assert!(
                        matches!(&question, Question::ReadFile { path, limit: Some(1024), .. } if path == "context")
                    );
                    known.insert(question, Answer::File(Some(Bytes::copy_from_slice(header))));
                }
            }
        }
    }
}

#[test]
fn a_directory_of_the_client_sends_just_the_dockerfile() {
    let (definition, filename) = location(
        &options(&[
            ("filename", "sub/Dockerfile"),
            ("local-sessionid:dockerfile", "other"),
        ]),
        b"",
    );
    assert_eq!(filename, "sub/Dockerfile");
    let [source] = sources(&definition).try_into().unwrap();
    assert_eq!(source.identifier, "local://dockerfile");
    let paths = r#"["sub/Dockerfile","sub/Dockerfile.dockerignore","sub/dockerfile"]"#;
    let attrs: Vec<_> = source
        .attrs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        attrs,
        [
            ("local.differ", "none"),
            ("local.followpaths", paths),
            ("local.session", "other"),
            ("local.sharedkeyhint", "dockerfile"),
        ]
    );
}

#[test]
fn the_dockerfile_may_be_elsewhere_than_the_context() {
    let remote = [
        ("context", "https://h/r.git#main"),
        ("dockerfilekey", "mine"),
    ];
    assert_eq!(
        sources(&location(&options(&remote), b"").0)[0].identifier,
        "local://mine"
    );
    assert_eq!(
        sources(&location(&options(&remote[..1]), b"").0)[0].identifier,
        "git://h/r.git#main"
    );
    let keyed = [("contextkey", "where"), ("where", "git@h:r")];
    assert_eq!(
        sources(&location(&options(&keyed), b"").0)[0].identifier,
        "git://h/r"
    );
}

#[test]
fn a_download_is_an_archive_or_the_dockerfile_itself() {
    let download = options(&[("context", "https://h/x"), ("filename", "D")]);
    let mut tar = vec![0u8; 512];
    tar[..4].copy_from_slice(b"name");
    tar[257..263].copy_from_slice(b"ustar\0");
    let sum: u32 = tar.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for archive in [b"\x1f\x8b\x08rest".as_slice(), b"BZh9", b"\xfd7zXZ\0", &tar] {
        let (definition, filename) = location(&download, archive);
        assert_eq!(
            (filename.as_str(), definition.ops.len()),
            ("D", 3),
            "{archive:?}"
        );
    }
    for text in [b"FROM scratch".as_slice(), b"", &[0u8; 512]] {
        let (definition, filename) = location(&download, text);
        assert_eq!(
            (filename.as_str(), definition.ops.len()),
            ("context", 2),
            "{text:?}"
        );
    }
}

#[test]
fn definitions_take_the_place_of_directories() {
    let given = State::http("https://h/ctx", HttpOptions::default())
        .marshal(&MarshalOptions::default())
        .unwrap();
    let mut options = options(&[
        ("context:base", "input:one"),
        (
            "input-metadata:one",
            r#"{"containerimage.config":"eyJjb25maWciOnsiRW52IjpbIkE9YiJdfX0="}"#,
        ),
    ]);
    for name in ["context", "dockerfile", "one"] {
        options.context.inputs.insert(name.into(), given.clone());
    }
    assert_eq!(location(&options, b"").0.ops, given.ops);
    let text = Bytes::from_static(b"FROM base\nCOPY a b\nRUN c\n");
    let source = Source::parse("Dockerfile", text, None).unwrap();
    let Lowering::Done(lowered) = lower(&source, &options, &Known::new()).unwrap() else {
        panic!("questions")
    };
    assert_eq!(
        sources(&lowered.definition).len(),
        1,
        "context and base are the same op"
    );
    assert_eq!(lowered.image.config.env[0], "A=b");
    assert!(
        lower(
            &source,
            &{
                options.context.inputs.remove("one");
                options
            },
            &Known::new()
        )
        .unwrap_err()
        .to_string()
        .contains("invalid input one for base")
    );
}

#[test]
fn an_ignore_file_of_the_dockerfile_takes_the_place_of_the_contexts() {
    let text = Bytes::from_static(b"FROM scratch\nCOPY a b\n");
    let source = Source::parse("Dockerfile", text, None)
        .unwrap()
        .with_ignore(Some(Bytes::from_static(b"x\n# c\n!y\n")));
    let Lowering::Done(lowered) = lower(&source, &options(&[]), &Known::new()).unwrap() else {
        panic!("questions")
    };
    assert_eq!(
        sources(&lowered.definition)[0].attrs["local.excludepatterns"],
        r#"["x","!y"]"#
    );
}

#[test]
fn steps_know_their_lines() {
    let build = Build::new("FROM scratch\n\nCOPY a \\\n  b c/\n");
    let definition = lowered(&build).definition;
    let source = definition.source.as_ref().unwrap();
    assert_eq!(source.infos[0].filename, "Dockerfile");
    assert!(source.infos[0].definition.is_some());
    let copy = Graph::load(&definition).unwrap().vertices.pop().unwrap();
    let ranges = &source.locations[copy.digest.as_ref()].locations[0].ranges;
    let lines: Vec<_> = ranges
        .iter()
        .map(|range| range.start.unwrap().line)
        .collect();
    assert_eq!(lines, [3, 4]);
}
