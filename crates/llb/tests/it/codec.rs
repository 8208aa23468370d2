//! Definitions survive a trip over the wire, whatever is in them.

use bytes::Bytes;
use kiln_llb::pb::{self, file_action, op, user_opt};
use kiln_llb::{Definition, encode_op};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

fn text() -> impl Strategy<Value = String> {
    ".{0,6}"
}

fn action() -> impl Strategy<Value = op::Op> {
    let source = (text(), btree_map(".{1,4}", ".{1,4}", 0..3))
        .prop_map(|(identifier, attrs)| op::Op::Source(pb::SourceOp { identifier, attrs }));
    let mount = (
        any::<i64>(),
        text(),
        text(),
        any::<i64>(),
        any::<bool>(),
        option::of(any::<i64>()),
    );
    let mount = mount.prop_map(
        |(input, selector, dest, output, readonly, size)| pb::Mount {
            input,
            selector,
            dest,
            output,
            readonly,
            tmpfs_opt: size.map(|size| pb::TmpfsOpt { size }),
            ..Default::default()
        },
    );
    let exec = (vec(text(), 0..3), text(), vec(mount, 0..3), 0..3i32).prop_map(
        |(args, cwd, mounts, network)| {
            op::Op::Exec(pb::ExecOp {
                meta: Some(pb::Meta {
                    args,
                    cwd,
                    ..Default::default()
                }),
                mounts,
                network,
                ..Default::default()
            })
        },
    );
    let owner = option::of(any::<u32>()).prop_map(|id| {
        id.map(|id| pb::ChownOpt {
            user: Some(pb::UserOpt {
                user: Some(user_opt::User::ById(id)),
            }),
            group: None,
        })
    });
    let mkfile = (text(), any::<i32>(), vec(any::<u8>(), 0..9), owner);
    let file = vec(mkfile, 1..3).prop_map(|files| {
        let actions = files
            .into_iter()
            .map(|(path, mode, data, owner)| pb::FileAction {
                action: Some(file_action::Action::Mkfile(pb::FileActionMkFile {
                    path,
                    mode,
                    data: data.into(),
                    owner,
                    timestamp: -1,
                })),
                ..Default::default()
            });
        op::Op::File(pb::FileOp {
            actions: actions.collect(),
        })
    });
    let merge = vec(any::<i64>(), 0..4).prop_map(|inputs| {
        let inputs = inputs
            .into_iter()
            .map(|input| pb::MergeInput { input })
            .collect();
        op::Op::Merge(pb::MergeOp { inputs })
    });
    prop_oneof![source, exec, file, merge]
}

fn any_op() -> impl Strategy<Value = pb::Op> {
    let platform = option::of((text(), text())).prop_map(|it| {
        it.map(|(os, architecture)| pb::Platform {
            os,
            architecture,
            ..Default::default()
        })
    });
    let inputs = vec((text(), any::<i64>()), 0..3);
    (
        option::of(action()),
        platform,
        inputs,
        option::of(vec(text(), 0..2)),
    )
        .prop_map(|(op, platform, inputs, filter)| pb::Op {
            inputs: inputs
                .into_iter()
                .map(|(digest, index)| pb::Input { digest, index })
                .collect(),
            op,
            platform,
            constraints: filter.map(|filter| pb::WorkerConstraints { filter }),
        })
}

proptest! {
    #[test]
    fn ops_decode_to_what_was_encoded(op in any_op()) {
        prop_assert_eq!(pb::Op::decode(encode_op(&op)).unwrap(), op);
    }

    #[test]
    fn definitions_decode_to_what_was_encoded(ops in vec(any_op(), 0..4), names in btree_map(".{1,6}", ".{1,4}", 0..3)) {
        let metadata = pb::OpMetadata { description: names, ignore_cache: true, ..Default::default() };
        let definition = Definition {
            ops: ops.iter().map(encode_op).collect(),
            metadata: [("sha256:x".to_string(), metadata)].into(),
            source: Some(pb::Source::default()),
        };
        prop_assert_eq!(Definition::decode(definition.encode()).unwrap(), definition.clone());
        // The dump is for people; it must cope with everything too.
        let json: serde_json::Value = serde_json::from_str(&kiln_llb::json::to_json(&definition)).unwrap();
        prop_assert!(json["def"].as_object().unwrap().len() <= ops.len());
    }

    #[test]
    fn decoding_never_panics(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(definition) = Definition::decode(Bytes::from(bytes)) {
            let _ = definition.head();
            let _ = kiln_llb::json::to_json(&definition);
        }
    }
}

/// Two clients that build the same op must agree on its bytes: fields in order of their numbers, but the action last.
#[test]
fn the_action_comes_last() {
    let op = pb::Op {
        op: Some(op::Op::Source(pb::SourceOp {
            identifier: "a".into(),
            ..Default::default()
        })),
        constraints: Some(pb::WorkerConstraints::default()),
        ..Default::default()
    };
    assert_eq!(encode_op(&op).as_ref(), b"\x5a\x00\x1a\x03\x0a\x01a");
}

/// Clients of the field crash on an op whose source lines are an empty message.
#[test]
fn ops_without_source_lines_are_not_listed() {
    let mut source = pb::Source::default();
    source
        .locations
        .insert("nowhere".into(), pb::Locations::default());
    let somewhere = pb::Locations {
        locations: vec![pb::Location::default()],
    };
    source.locations.insert("somewhere".into(), somewhere);
    let definition = Definition {
        source: Some(source),
        ..Definition::default()
    };
    let wire = definition.to_wire();
    let listed = wire.source.unwrap().locations.into_keys();
    assert_eq!(listed.collect::<Vec<_>>(), ["somewhere"]);
}
