//! Builds of plain LLB, their progress, and requests that are refused.

use kiln_protocol::control::control_client::ControlClient;
use kiln_protocol::control::{
    CacheOptions, CacheOptionsEntry, Exporter, SolveRequest, StatusRequest, StatusResponse,
};
use kiln_protocol::{pb, sourcepolicy};
use kiln_testkit::registry::Registry;
use kiln_testkit::rootfs;
use prost::Message as _;
use tonic::Code;
use tonic::transport::Channel;

use crate::llb;
use crate::process::Daemon;

/// All that a build reports, as one message.
async fn status(mut client: ControlClient<Channel>, build: &str) -> StatusResponse {
    let request = StatusRequest {
        r#ref: build.into(),
    };
    let answer = client.status(request).await.unwrap();
    assert!(answer.metadata().contains_key("buildkit-current-timestamp"));
    let mut news = answer.into_inner();
    let mut all = StatusResponse::default();
    while let Some(message) = news.message().await.unwrap() {
        all.vertexes.extend(message.vertexes);
        all.logs.extend(message.logs);
        all.warnings.extend(message.warnings);
    }
    all
}

fn output(status: &StatusResponse) -> String {
    let bytes = status
        .logs
        .iter()
        .flat_map(|log| log.msg.to_vec())
        .collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn everybody_sees_all_progress_however_early_or_late() {
    let dir = tempfile::tempdir().unwrap();
    rootfs::busybox(dir.path()).unwrap();
    let registry = Registry::start().unwrap();
    registry.push_rootfs(dir.path(), "busybox:latest").unwrap();
    let image = format!("{}/busybox:latest", registry.host());
    let daemon = Daemon::start(&[]);
    let client = daemon.client().await;

    let early = (0..200).map(|_| tokio::spawn(status(client.clone(), "build")));
    let early = early.collect::<Vec<_>>();
    let script = "i=0; while [ $i -lt 500 ]; do echo line $i of the output; i=$((i+1)); done";
    let request = llb::solve("build", llb::shell(&image, script));
    client.clone().solve(request).await.unwrap();
    let expected = (0..500).map(|i| format!("line {i} of the output\n"));
    let expected = expected.collect::<String>();
    for early in early {
        assert_eq!(output(&early.await.unwrap()), expected);
    }
    let late = status(client.clone(), "build").await;
    assert_eq!(output(&late), expected);
    assert!(
        late.vertexes
            .iter()
            .any(|vertex| vertex.completed.is_some())
    );

    let internal = SolveRequest {
        internal: true,
        ..llb::solve("internal", llb::file("x"))
    };
    client.clone().solve(internal).await.unwrap();
    let late = status(client.clone(), "internal").await;
    assert!(!late.vertexes.is_empty());

    let request = StatusRequest {
        r#ref: "never".into(),
    };
    let error = client.clone().status(request).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(error.message(), "no such job never");
}

#[tokio::test]
async fn a_frontend_builds_on_definitions_that_come_with_the_request() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client().await;
    let inputs = [
        ("dockerfile", llb::file("FROM scratch\nCOPY file copy\n")),
        ("context", llb::file("content")),
    ];
    let request = SolveRequest {
        r#ref: "build".into(),
        frontend: "dockerfile.v0".into(),
        frontend_attrs: [("filename".into(), "file".into())].into(),
        frontend_inputs: inputs.map(|(name, it)| (name.into(), it)).into(),
        ..SolveRequest::default()
    };
    client.clone().solve(request).await.unwrap();
    let steps = status(client, "build").await.vertexes;
    let copy = steps
        .iter()
        .find(|step| step.name.ends_with("COPY file copy"));
    assert!(copy.is_some(), "{steps:?}");
}

fn op(op: pb::Op) -> bytes::Bytes {
    op.encode_to_vec().into()
}

fn terminal(digest: &str) -> bytes::Bytes {
    op(pb::Op {
        inputs: vec![pb::Input {
            digest: digest.into(),
            index: 0,
        }],
        ..pb::Op::default()
    })
}

fn definition(ops: Vec<bytes::Bytes>) -> pb::Definition {
    pb::Definition {
        def: ops,
        ..pb::Definition::default()
    }
}

#[tokio::test]
async fn definitions_without_sense_fail_and_the_daemon_goes_on() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client().await;
    let missing = format!("sha256:{}", "0".repeat(64));
    let unknown = op(pb::Op::default());
    let unknown_digest = kiln_llb::digest_of(&unknown).to_string();
    let source = op(pb::Op {
        op: Some(pb::op::Op::Source(pb::SourceOp {
            identifier: "nothing://x".into(),
            ..pb::SourceOp::default()
        })),
        ..pb::Op::default()
    });
    let source_digest = kiln_llb::digest_of(&source).to_string();
    let cases = [
        (
            "garbage",
            definition(vec![bytes::Bytes::from_static(b"\xff\xff\xff")]),
        ),
        ("dangling", definition(vec![terminal(&missing)])),
        ("self", definition(vec![terminal("sha256:x")])),
        (
            "unknown-op",
            definition(vec![unknown, terminal(&unknown_digest)]),
        ),
        (
            "unknown-source",
            definition(vec![source, terminal(&source_digest)]),
        ),
        (
            "output",
            definition(vec![op(pb::Op {
                inputs: vec![pb::Input {
                    digest: missing.clone(),
                    index: -1,
                }],
                ..pb::Op::default()
            })]),
        ),
    ];
    for (name, definition) in cases {
        let error = client
            .solve(llb::solve(name, definition))
            .await
            .unwrap_err();
        assert!(
            matches!(error.code(), Code::Unknown | Code::InvalidArgument),
            "{name}: {error:?}"
        );
        assert!(!error.message().is_empty(), "{name}");
    }
    client
        .solve(llb::solve("sound", llb::file("x")))
        .await
        .unwrap();
}

#[tokio::test]
async fn fields_that_cannot_be_honoured_are_refused_by_name() {
    let daemon = Daemon::start(&[]);
    let client = daemon.client().await;
    let check = async |change: &dyn Fn(&mut SolveRequest), code: Code, part: &str| {
        let mut request = llb::solve("build", llb::file("x"));
        change(&mut request);
        let error = client.clone().solve(request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(error.message().contains(part), "{error:?}");
    };
    let wrong = Code::InvalidArgument;
    let policy = sourcepolicy::Policy {
        rules: vec![sourcepolicy::Rule::default()],
        ..sourcepolicy::Policy::default()
    };
    check(
        &|it| it.source_policy = Some(policy.clone()),
        Code::Unknown,
        "invalid nil selector in policy",
    )
    .await;
    check(
        &|it| it.compatibility_version = 31,
        wrong,
        "max supported: 30",
    )
    .await;
    check(
        &|it| {
            it.compatibility_version = 10;
            it.exporters = vec![Exporter {
                r#type: "oci".into(),
                attrs: [("compression".to_owned(), "zstd".to_owned())].into(),
            }];
        },
        Code::Unknown,
        "unsupported compatibility-version 10 feature oci exporter compression=zstd",
    )
    .await;
    check(
        &|it| it.compatibility_version = 5,
        wrong,
        "unsupported compatibility-version 5",
    )
    .await;
    check(
        &|it| it.frontend = "dockerfile.v0".into(),
        wrong,
        "both Definition and Frontend",
    )
    .await;
    check(&|it| it.r#ref = String::new(), wrong, "no Ref").await;
    check(&|it| it.entitlements = vec!["other".into()], wrong, "other").await;
    let host = |it: &mut SolveRequest| it.entitlements = vec!["network.host".into()];
    check(
        &host,
        Code::PermissionDenied,
        "granting entitlement network.host is not allowed",
    )
    .await;
    let tar = |it: &mut SolveRequest| {
        it.exporters = vec![Exporter {
            r#type: "tar".into(),
            ..Exporter::default()
        }];
    };
    check(&tar, wrong, "exporter tar delivers to the client").await;
    let cache = CacheOptionsEntry {
        r#type: "registry".into(),
        attrs: [("ref".to_owned(), "localhost/x".to_owned())].into(),
    };
    let twice = CacheOptions {
        exports: vec![cache.clone(), cache],
        ..CacheOptions::default()
    };
    check(
        &|it| it.cache = Some(twice.clone()),
        wrong,
        "duplicate cache exports [registry]",
    )
    .await;
    check(&|it| it.session = "nobody".into(), Code::NotFound, "nobody").await;
}

#[tokio::test]
async fn entitlements_that_are_allowed_are_granted() {
    let daemon = Daemon::start(&["--allow-insecure-entitlement=network.host"]);
    let request = SolveRequest {
        entitlements: vec!["network.host".into()],
        compatibility_version: 30,
        ..llb::solve("build", llb::file("x"))
    };
    daemon.client().await.solve(request).await.unwrap();
}

#[tokio::test]
async fn unknown_keys_of_outputs_pass_where_the_daemon_is_lenient() {
    let request = |name: &str| SolveRequest {
        exporters: vec![Exporter {
            r#type: "image".into(),
            attrs: [("compresion".into(), "zstd".into())].into(),
        }],
        ..llb::solve(name, llb::file("x"))
    };
    let strict = Daemon::start(&[]);
    let refused = strict.client().await.solve(request("strict")).await;
    let refused = refused.unwrap_err();
    assert!(refused.message().contains("did you mean"), "{refused:?}");

    let lenient = Daemon::start(&["--lenient-outputs"]);
    let client = lenient.client().await;
    client.clone().solve(request("lenient")).await.unwrap();
    let warnings = status(client, "lenient").await.warnings;
    let warning = String::from_utf8_lossy(&warnings[0].short).into_owned();
    assert!(warning.contains("compresion"), "{warning}");
}
