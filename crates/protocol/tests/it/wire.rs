//! What messages look like on the wire, and what services are called there.

use std::collections::BTreeMap;
use std::fmt::Debug;

use kiln_protocol::frontend::{self, exec_message, result};
use kiln_protocol::{
    content, control, errdefs, exporter, filesync, fsutil, health, otlp_collector, otlp_trace, pb,
    policysession, rpc, secrets, sourcepolicy, sshforward, types, upload,
};
use prost::Message;

/// The message encodes as these bytes, given in hex with spaces anywhere, and back.
#[track_caller]
fn check<M: Message + Default + PartialEq + Debug>(message: &M, expected: &str) {
    let encoded = message.encode_to_vec();
    assert_eq!(hex::encode(&encoded), expected.replace(' ', ""));
    assert_eq!(&M::decode(encoded.as_slice()).unwrap(), message);
}

fn strings(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect()
}

#[test]
fn requests_of_the_daemon() {
    check(
        &control::SolveRequest {
            exporters: vec![control::Exporter {
                r#type: "tar".into(),
                attrs: strings(&[("b", "2"), ("a", "1")]),
            }],
            source_policy_session: "s".into(),
            compatibility_version: 20,
            proxy_network: true,
            ..Default::default()
        },
        "6a15 0a03746172 1206 0a0161 120131 1206 0a0162 120132 7a0173 800114 880101",
    );
    #[expect(deprecated, reason = "old clients send these")]
    check(
        &control::SolveRequest {
            exporter_deprecated: "tar".into(),
            exporter_attrs_deprecated: strings(&[("a", "1")]),
            cache: Some(control::CacheOptions {
                export_ref_deprecated: "r".into(),
                import_refs_deprecated: vec!["i".into()],
                ..Default::default()
            }),
            ..Default::default()
        },
        "1a03746172 2206 0a0161 120131 4206 0a0172 120169",
    );
    check(
        &control::PruneRequest {
            keep_duration: 1,
            reserved_space: 2,
            max_used_space: 3,
            min_free_space: 4,
            ..Default::default()
        },
        "1801 2002 2803 3004",
    );
}

#[test]
fn answers_of_the_daemon() {
    check(
        &control::UsageRecord {
            created_at: Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 2,
            }),
            parents: vec!["p".into()],
            ..Default::default()
        },
        "3204 0801 1002 620170",
    );
    let blob = control::Descriptor {
        size: 3,
        annotations: strings(&[("k", "v")]),
        ..Default::default()
    };
    check(
        &control::BuildResultInfo {
            results: BTreeMap::from([(2, blob.clone()), (1, blob)]),
            ..Default::default()
        },
        "1a0e 0801 120a 1803 2a06 0a016b 120176 1a0e 0802 120a 1803 2a06 0a016b 120176",
    );
    check(
        &control::BuildHistoryRecord {
            error: Some(rpc::Status {
                code: 2,
                ..Default::default()
            }),
            pinned: true,
            num_warnings: 1,
            ..Default::default()
        },
        "2a02 0802 7001 980101",
    );
    check(
        &control::ListWorkersResponse {
            record: vec![types::WorkerRecord {
                gc_policy: vec![types::GcPolicy {
                    keep_duration: 1,
                    reserved_space: 2,
                    filters: vec!["f".into()],
                    ..Default::default()
                }],
                ..Default::default()
            }],
        },
        "0a09 2207 1001 1802 220166",
    );
}

#[test]
fn frontends() {
    check(
        &frontend::Result {
            result: Some(result::Result::Ref(frontend::Ref {
                id: "x".into(),
                def: None,
            })),
            metadata: BTreeMap::from([("b".into(), "2".into()), ("a".into(), "1".into())]),
            attestations: BTreeMap::new(),
        },
        "1a03 0a0178 5206 0a0161 120131 5206 0a0162 120132",
    );
    check(
        &frontend::SolveRequest {
            allow_result_array_ref: true,
            frontend_inputs: BTreeMap::from([(
                "i".into(),
                pb::Definition {
                    def: vec!["d".into()],
                    ..Default::default()
                },
            )]),
            evaluate: true,
            source_policies: vec![sourcepolicy::Policy {
                version: 1,
                rules: Vec::new(),
            }],
            ..Default::default()
        },
        "3001 6a08 0a0169 1203 0a0164 7001 7a02 0801",
    );
    check(
        &frontend::ExecMessage {
            process_id: "p".into(),
            input: Some(exec_message::Input::Signal(frontend::SignalMessage {
                name: "INT".into(),
            })),
        },
        "0a0170 4205 0a03494e54",
    );
    check(
        &errdefs::Solve {
            subject: Some(errdefs::solve::Subject::Cache(errdefs::ContentCache {
                index: 3,
            })),
            ..Default::default()
        },
        "2a02 0803",
    );
}

#[test]
fn sessions() {
    check(
        &fsutil::Packet {
            r#type: fsutil::packet::PacketType::PacketStat.into(),
            stat: Some(fsutil::Stat {
                mod_time: 1,
                linkname: "l".into(),
                xattrs: BTreeMap::from([("x".into(), "y".into())]),
                ..Default::default()
            }),
            id: 5,
            ..Default::default()
        },
        "120d 3001 3a016c 5206 0a0178 120179 1805",
    );
    check(
        &filesync::FetchTokenResponse {
            token: "t".into(),
            expires_in: 60,
            issued_at: 1,
        },
        "0a0174 103c 1801",
    );
    check(
        &content::WriteContentRequest {
            action: content::WriteAction::Commit.into(),
            offset: 7,
            data: "x".into(),
            ..Default::default()
        },
        "0802 2807 320178",
    );
    check(
        &policysession::DecisionResponse {
            action: sourcepolicy::PolicyAction::Deny.into(),
            deny_messages: vec![policysession::DenyMessage {
                message: "n".into(),
            }],
            update: None,
        },
        "0801 1203 0a016e",
    );
}

#[test]
fn spans_and_health() {
    check(
        &otlp_trace::Span {
            start_time_unix_nano: 1,
            kind: otlp_trace::span::SpanKind::Client.into(),
            flags: 256,
            ..Default::default()
        },
        "3003 39 0100000000000000 8501 00010000",
    );
    check(
        &health::HealthCheckResponse {
            status: health::health_check_response::ServingStatus::Serving.into(),
        },
        "0801",
    );
}

#[test]
fn services() {
    let check = |name: &str, expected: &str| assert_eq!(name, expected);
    check(
        control::control_server::SERVICE_NAME,
        "moby.buildkit.v1.Control",
    );
    check(
        frontend::llb_bridge_server::SERVICE_NAME,
        "moby.buildkit.v1.frontend.LLBBridge",
    );
    check(
        filesync::file_sync_server::SERVICE_NAME,
        "moby.filesync.v1.FileSync",
    );
    check(
        filesync::file_send_server::SERVICE_NAME,
        "moby.filesync.v1.FileSend",
    );
    check(filesync::auth_server::SERVICE_NAME, "moby.filesync.v1.Auth");
    check(
        secrets::secrets_server::SERVICE_NAME,
        "moby.buildkit.secrets.v1.Secrets",
    );
    check(
        sshforward::ssh_server::SERVICE_NAME,
        "moby.sshforward.v1.SSH",
    );
    check(upload::upload_server::SERVICE_NAME, "moby.upload.v1.Upload");
    check(
        exporter::exporter_server::SERVICE_NAME,
        "moby.exporter.v1.Exporter",
    );
    check(
        policysession::policy_verifier_server::SERVICE_NAME,
        "moby.buildkit.v1.sourcepolicy.policysession.PolicyVerifier",
    );
    check(
        content::content_server::SERVICE_NAME,
        "containerd.services.content.v1.Content",
    );
    check(health::health_server::SERVICE_NAME, "grpc.health.v1.Health");
    check(
        otlp_collector::trace_service_server::SERVICE_NAME,
        "opentelemetry.proto.collector.trace.v1.TraceService",
    );
}
