//! Source policies: which sources they let through, and what they make of them.

use std::collections::{BTreeMap, HashMap};

use kiln_llb::build::{ImageOptions, MarshalOptions, Run, State};
use kiln_llb::pb::{SourceOp, op};
use kiln_llb::policy::{Outcome, Policies};
use kiln_llb::{Definition, Graph};
use kiln_protocol::sourcepolicy::{
    AttrConstraint, AttrMatch, MatchType, Policy, PolicyAction, Rule, Selector, Update,
};
use rstest::rstest;

fn rule(action: PolicyAction, identifier: &str, match_type: MatchType) -> Rule {
    Rule {
        action: action.into(),
        selector: Some(Selector {
            identifier: identifier.to_owned(),
            match_type: match_type.into(),
            constraints: Vec::new(),
        }),
        updates: None,
    }
}

fn allow(identifier: &str) -> Rule {
    rule(PolicyAction::Allow, identifier, MatchType::Wildcard)
}

fn deny(identifier: &str) -> Rule {
    rule(PolicyAction::Deny, identifier, MatchType::Wildcard)
}

fn convert(identifier: &str, to: &str) -> Rule {
    converting(identifier, to, &[], MatchType::Wildcard)
}

fn converting(identifier: &str, to: &str, attrs: &[(&str, &str)], kind: MatchType) -> Rule {
    let attrs = attrs
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()));
    Rule {
        updates: Some(Update {
            identifier: to.to_owned(),
            attrs: attrs.collect(),
        }),
        ..rule(PolicyAction::Convert, identifier, kind)
    }
}

fn only_if(mut rule: Rule, key: &str, condition: AttrMatch, value: &str) -> Rule {
    let selector = rule.selector.as_mut().unwrap();
    selector.constraints.push(AttrConstraint {
        key: key.to_owned(),
        value: value.to_owned(),
        condition: condition.into(),
    });
    rule
}

fn policies(rules: Vec<Vec<Rule>>) -> Vec<Policy> {
    let policies = rules.into_iter().map(|rules| Policy { version: 1, rules });
    policies.collect()
}

const ALPINE: &str = "docker-image://docker.io/library/alpine:3";
const FILE: &str = "https://example.com/file";

/// What becomes of a source with the attribute `http.checksum=sha256:1`.
fn judged(rules: Vec<Vec<Rule>>, identifier: &str) -> Result<(Outcome, SourceOp), String> {
    let policies = Policies::read(&policies(rules)).map_err(|error| error.to_string())?;
    let mut source = SourceOp {
        identifier: identifier.to_owned(),
        attrs: [("http.checksum".to_owned(), "sha256:1".to_owned())].into(),
    };
    let outcome = policies
        .judge(&mut source)
        .map_err(|error| error.to_string())?;
    Ok((outcome, source))
}

#[rstest]
#[case::nothing_said(vec![], ALPINE)]
#[case::another_denied(vec![deny("docker-image://docker.io/library/busybox:*")], ALPINE)]
#[case::the_last_counts(vec![deny("*"), allow("docker-image://*")], ALPINE)]
#[case::exact(vec![rule(PolicyAction::Deny, "docker-image://*", MatchType::Exact)], ALPINE)]
#[case::stars_match_wholly(vec![deny("alpine*")], ALPINE)]
#[case::dots_are_dots(vec![deny("docker-image://docker-io/*")], ALPINE)]
#[case::attribute_differs(
    vec![only_if(deny("*"), "http.checksum", AttrMatch::Notequal, "sha256:1")], FILE
)]
fn allowed(#[case] rules: Vec<Rule>, #[case] identifier: &str) {
    let (outcome, source) = judged(vec![rules], identifier).unwrap();
    assert_eq!(
        (outcome, source.identifier.as_str()),
        (Outcome::Kept, identifier)
    );
}

#[rstest]
#[case::by_star(vec![deny("docker-image://*alpine:*")])]
#[case::by_name(vec![rule(PolicyAction::Deny, ALPINE, MatchType::Exact)])]
#[case::by_part(vec![rule(PolicyAction::Deny, "lib.*alp", MatchType::Regex)])]
#[case::the_last_counts(vec![allow("*"), deny("*")])]
#[case::by_attribute(vec![only_if(deny("*"), "http.checksum", AttrMatch::Matches, "^sha256:")])]
#[case::by_equal_attribute(vec![only_if(deny("*"), "http.checksum", AttrMatch::Equal, "sha256:1")])]
#[case::without_attribute(vec![only_if(deny("*"), "absent", AttrMatch::Equal, "")])]
fn denied(#[case] rules: Vec<Rule>) {
    let error = judged(vec![rules], ALPINE).unwrap_err();
    assert_eq!(
        error,
        format!("source {ALPINE:?} denied by policy: source denied by policy")
    );
}

#[test]
fn every_policy_has_to_allow_a_source() {
    assert!(judged(vec![vec![allow("*")], vec![deny("*")]], ALPINE).is_err());
    assert!(judged(vec![vec![deny("*")], vec![allow("*")]], ALPINE).is_err());
}

#[rstest]
#[case::stars(
    convert(
        "docker-image://*/library/alpine:*",
        "docker-image://mirror/$1/alpine:${2}-slim"
    ),
    "docker-image://mirror/docker.io/alpine:3-slim"
)]
#[case::groups(converting("library/(?<name>[a-z]+)", "mirror/$name", &[], MatchType::Regex), "docker-image://docker.io/mirror/alpine:3")]
#[case::exact(converting(ALPINE, "docker-image://a:$1", &[], MatchType::Exact), "docker-image://a:$1")]
fn replaced(#[case] rule: Rule, #[case] expected: &str) {
    let (outcome, source) = judged(vec![vec![rule]], ALPINE).unwrap();
    assert_eq!(
        (outcome, source.identifier.as_str()),
        (Outcome::Replaced, expected)
    );
}

#[test]
fn attributes_are_set_beside_those_there_are() {
    let attrs = [("http.checksum", "sha256:2"), ("http.filename", "f")];
    let rule = converting(FILE, "", &attrs, MatchType::Exact);
    let (outcome, source) = judged(vec![vec![rule]], FILE).unwrap();
    assert_eq!(
        (outcome, source.identifier.as_str()),
        (Outcome::Replaced, FILE)
    );
    let expected = attrs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(source.attrs, BTreeMap::from(expected));
}

#[test]
fn what_replaces_a_source_is_judged_itself() {
    let twice = vec![
        convert(ALPINE, "docker-image://b"),
        convert("docker-image://b", FILE),
    ];
    assert_eq!(
        judged(vec![twice.clone()], ALPINE).unwrap().1.identifier,
        FILE
    );
    let error = judged(vec![twice, vec![deny(FILE)]], ALPINE).unwrap_err();
    assert!(
        error.starts_with(&format!("source {FILE:?} denied")),
        "{error}"
    );
}

#[test]
fn circles_end() {
    let circle = vec![convert(ALPINE, FILE), convert(FILE, ALPINE)];
    let error = judged(vec![circle], ALPINE).unwrap_err();
    assert_eq!(
        error,
        "too many mutations on a single source: too many operations"
    );
}

#[rstest]
#[case(Rule::default(), "invalid nil selector in policy")]
#[case(
    rule(PolicyAction::Convert, "a", MatchType::Exact),
    "rule for \"a\": missing destination for convert rule: give it \"updates\""
)]
#[case(
    deny("a**"),
    "invalid wildcard \"a**\": \"**\" means no more than \"*\" here; write one star"
)]
#[case(Rule { action: 7, ..deny("a") }, "rule for \"a\": unknown action 7")]
fn wrong(#[case] rule: Rule, #[case] expected: &str) {
    assert_eq!(judged(vec![vec![rule]], ALPINE).unwrap_err(), expected);
}

#[test]
fn wrong_expressions_are_shown() {
    let error = judged(
        vec![vec![rule(PolicyAction::Deny, "(", MatchType::Regex)]],
        ALPINE,
    );
    let error = error.unwrap_err();
    assert!(error.starts_with("invalid regex \"(\": "), "{error}");
}

/// `FROM alpine` and two steps, with everything that is known about each.
fn definition() -> Definition {
    let image = State::image("docker.io/library/alpine:3", ImageOptions::default()).unwrap();
    let run = |name: &str| Run {
        args: vec![name.to_owned()],
        ..Run::default()
    };
    let second = image.run(run("one")).root.run(run("two")).root;
    second.marshal(&MarshalOptions::default()).unwrap()
}

#[test]
fn a_definition_with_other_sources_is_as_whole_as_before() {
    let before = definition();
    let graph = Graph::load(&before).unwrap();
    let source = &graph.vertices[0];
    assert!(matches!(source.op.op, Some(op::Op::Source(_))));
    let replacement = SourceOp {
        identifier: "docker-image://other:1".to_owned(),
        attrs: BTreeMap::new(),
    };
    let after = before.with_sources(
        &graph,
        HashMap::from([(source.digest.clone(), replacement.clone())]),
    );
    let changed = Graph::load(&after).unwrap();
    assert_eq!(changed.vertices[0].op.op, Some(op::Op::Source(replacement)));
    assert_eq!(changed.vertices.len(), graph.vertices.len());
    for (old, new) in graph.vertices.iter().zip(&changed.vertices) {
        assert_ne!(old.digest, new.digest);
        assert_eq!(old.metadata, new.metadata);
        assert!(after.metadata.contains_key(new.digest.as_ref()));
    }
    assert_eq!(before.with_sources(&graph, HashMap::new()), before);
}
