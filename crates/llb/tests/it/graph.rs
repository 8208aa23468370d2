//! Loading definitions, sound and broken ones.

use bytes::Bytes;
use kiln_llb::build::{
    Constraints, Copy, FileActions, ImageOptions, LocalOptions, MakeDir, MarshalOptions, Run, State,
};
use kiln_llb::pb::{self, op};
use kiln_llb::{Definition, Graph, LoadError, digest_of, encode_op};
use proptest::collection::vec;
use proptest::prelude::*;

fn source(name: &str) -> Bytes {
    encode_op(&pb::Op {
        op: Some(op::Op::Source(pb::SourceOp {
            identifier: name.into(),
            ..Default::default()
        })),
        ..Default::default()
    })
}

fn input(bytes: &Bytes, index: i64) -> pb::Input {
    pb::Input {
        digest: digest_of(bytes).to_string(),
        index,
    }
}

fn merge(inputs: Vec<pb::Input>, indexes: &[i64]) -> Bytes {
    let merged = indexes
        .iter()
        .map(|input| pb::MergeInput { input: *input })
        .collect();
    encode_op(&pb::Op {
        inputs,
        op: Some(op::Op::Merge(pb::MergeOp { inputs: merged })),
        ..Default::default()
    })
}

fn terminal(bytes: &Bytes, index: i64) -> Bytes {
    encode_op(&pb::Op {
        inputs: vec![input(bytes, index)],
        ..Default::default()
    })
}

fn load(ops: Vec<Bytes>) -> Result<Graph, LoadError> {
    Graph::load(&Definition {
        ops,
        ..Default::default()
    })
}

#[test]
fn inputs_come_first_whatever_the_order_was() {
    let (a, b) = (source("a"), source("b"));
    let both = merge(vec![input(&a, 0), input(&b, 0)], &[0, 1]);
    for ops in [
        vec![a.clone(), b.clone(), both.clone(), terminal(&both, 0)],
        vec![
            both.clone(),
            b.clone(),
            a.clone(),
            a.clone(),
            source("unused"),
            terminal(&both, 0),
        ],
    ] {
        let graph = load(ops).unwrap();
        let digests: Vec<_> = graph
            .vertices
            .iter()
            .map(|vertex| vertex.digest.clone())
            .collect();
        assert_eq!(digests, [digest_of(&a), digest_of(&b), digest_of(&both)]);
        assert_eq!(graph.root.unwrap().vertex, digest_of(&both));
        assert_eq!(graph.vertices[2].inputs.len(), 2);
    }
}

#[test]
fn no_ops_are_an_empty_result() {
    let graph = load(Vec::new()).unwrap();
    assert!(graph.root.is_none() && graph.vertices.is_empty());
}

#[test]
fn broken_definitions_are_refused() {
    let a = source("a");
    let lost = source("lost");
    let both = merge(vec![input(&a, 0)], &[0, 1]);
    let action_less = encode_op(&pb::Op::default());
    for (ops, expected) in [
        (vec![a.clone()], "the last op must be the terminal one"),
        (vec![a.clone(), terminal(&lost, 0)], "missing input"),
        (vec![a.clone(), terminal(&a, 1)], "invalid output index 1"),
        (vec![a.clone(), terminal(&a, -1)], "invalid output index -1"),
        (
            vec![a.clone(), both.clone(), terminal(&both, 0)],
            "invalid input index 1",
        ),
        (
            vec![action_less.clone(), terminal(&action_less, 0)],
            "has no action",
        ),
        (
            vec![Bytes::from_static(b"\xff"), terminal(&a, 0)],
            "failed to parse llb proto op 0",
        ),
    ] {
        let error = load(ops).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
}

#[test]
fn a_long_chain_is_no_problem() {
    let mut state = State::image("alpine", ImageOptions::default()).unwrap();
    for index in 0..20_000 {
        let mut actions = FileActions::new();
        actions.make_dir(MakeDir {
            path: format!("/{index}"),
            ..Default::default()
        });
        state = state.file(actions, Constraints::new());
    }
    let definition = state.marshal(&MarshalOptions::default()).unwrap();
    assert_eq!(Graph::load(&definition).unwrap().vertices.len(), 20_001);
}

#[test]
fn a_received_definition_can_be_built_upon() {
    let context = State::local(
        "context",
        LocalOptions {
            session: Some("s".into()),
            ..Default::default()
        },
    );
    let mut actions = FileActions::new();
    actions.copy(Copy::new(context, "a", "b"));
    let first = State::scratch().file(actions, Constraints::named("copy"));
    let sent = first.marshal(&MarshalOptions::default()).unwrap();
    let received = State::from_definition(&Definition::decode(sent.encode()).unwrap()).unwrap();
    let run = Run {
        args: vec!["x".into()],
        ..Default::default()
    };
    let options = MarshalOptions::default();
    let ours = first.run(run.clone()).root.marshal(&options).unwrap();
    let theirs = received.run(run).root.marshal(&options).unwrap();
    assert_eq!(ours.ops, theirs.ops);
    assert_eq!(ours.metadata, theirs.metadata);
}

proptest! {
    #[test]
    fn loading_never_panics(ops in vec(vec(any::<u8>(), 0..40), 0..6)) {
        let _ = load(ops.into_iter().map(Bytes::from).collect());
    }

    #[test]
    fn loading_mutilated_ops_never_panics(flips in vec((any::<usize>(), any::<u8>()), 1..6)) {
        let a = source("a");
        let both = merge(vec![input(&a, 0), input(&a, 0)], &[0, 1]);
        let mut ops = vec![a.to_vec(), both.to_vec(), terminal(&both, 0).to_vec()];
        for (place, byte) in flips {
            let op = place % ops.len();
            let at = place / ops.len() % ops[op].len();
            ops[op][at] = byte;
        }
        let _ = load(ops.into_iter().map(Bytes::from).collect());
    }
}
