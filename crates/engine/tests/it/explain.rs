//! Why steps ran, from facts alone.

use kiln_engine::explain::{
    Account, Aspect, BuildFacts, CacheUse, Cause, ContentFacts, Earlier, Explanation, Fact,
    FileChange, FileChanges, FileComparison, Origin, Outcome, Presence, StepFacts, StepKind,
    TreePair, explain,
};

/// Says which trees were asked for.
struct Trees;

impl FileComparison for Trees {
    fn changes(&self, trees: &TreePair) -> FileChanges {
        let name = |tree: &Option<String>| tree.clone().unwrap_or_default();
        FileChanges::Yes {
            first: vec![FileChange {
                path: format!("/{}-{}", name(&trees.before), name(&trees.now)),
                what: vec!["content".into()],
            }],
            others: 0,
        }
    }
}

fn step(name: &str, kind: StepKind, inputs: &[usize]) -> StepFacts {
    StepFacts {
        digest: format!("digest of {name}"),
        name: name.into(),
        kind,
        inputs: inputs.to_vec(),
        outcome: Outcome::Cached,
        cache: CacheUse::Allowed,
        keys: Vec::new(),
        contents: Vec::new(),
        facts: Vec::new(),
    }
}

fn fact(aspect: Aspect, value: &str) -> Fact {
    Fact {
        aspect,
        value: value.into(),
    }
}

/// An image, a directory of the client, a copy of it onto the image, and a command on that.
fn build() -> BuildFacts {
    let mut image = step("[1/3] FROM base", StepKind::Image, &[]);
    image.facts = vec![
        fact(Aspect::Source, "base"),
        fact(Aspect::SourceDigest, "sha256:one"),
    ];
    let local = step("[internal] load build context", StepKind::Local, &[]);
    let mut copy = step("[2/3] COPY src /src", StepKind::File, &[0, 1]);
    copy.facts = vec![fact(Aspect::Action(0), "copy /src /src")];
    copy.contents = vec![ContentFacts {
        input: 1,
        digest: "files-one".into(),
        tree: Some("tree-one".into()),
    }];
    let mut run = step("[3/3] RUN make", StepKind::Exec, &[2]);
    run.facts = vec![
        fact(Aspect::Command, "make"),
        fact(Aspect::Variable("A".into()), "1"),
    ];
    BuildFacts {
        places: vec!["here".into()],
        steps: vec![image, local, copy, run],
        ..BuildFacts::default()
    }
}

fn change(change: impl FnOnce(&mut BuildFacts)) -> BuildFacts {
    let mut facts = build();
    change(&mut facts);
    facts
}

fn explained(now: &BuildFacts, earlier: &[&BuildFacts]) -> Vec<Explanation> {
    let names = ["newest", "older", "oldest"];
    let earlier: Vec<Earlier<'_>> = earlier
        .iter()
        .zip(names)
        .map(|(facts, build)| Earlier { build, facts })
        .collect();
    explain(now, &earlier, &Trees)
}

/// What is said of the steps by their numbers.
fn causes(now: &BuildFacts, earlier: &[&BuildFacts]) -> Vec<(usize, Vec<Cause>)> {
    let explained = explained(now, earlier).into_iter();
    explained.map(|it| (it.step, it.causes)).collect()
}

fn changed(aspect: Aspect, before: &str, now: &str) -> Cause {
    Cause::Changed {
        aspect,
        before: Some(before.into()),
        now: Some(now.into()),
        origin: Origin::Definition,
    }
}

#[test]
fn each_difference_is_the_cause() {
    let run = |run: fn(&mut StepFacts)| {
        change(|facts| {
            facts.steps[3].outcome = Outcome::Ran;
            run(&mut facts.steps[3]);
        })
    };
    let cases = [
        (run(|_| {}), Cause::Gone),
        (run(|run| run.outcome = Outcome::RanForLost), Cause::Lost),
        (
            run(|run| run.cache = CacheUse::Off),
            Cause::CacheOff {
                option: "--no-cache".into(),
            },
        ),
        (
            run(|run| run.facts[0].value = "make all".into()),
            changed(Aspect::Command, "make", "make all"),
        ),
        (
            run(|run| run.facts[1].value = "2".into()),
            changed(Aspect::Variable("A".into()), "1", "2"),
        ),
    ];
    for (now, cause) in cases {
        assert_eq!(causes(&now, &[&build()]), [(3, vec![cause])]);
    }
}

#[test]
fn keys_tell_what_facts_do_not() {
    let keyed = |key: &str, outcome| {
        change(|facts| {
            facts.steps[3].keys = key.split(' ').map(Into::into).collect();
            facts.steps[3].outcome = outcome;
        })
    };
    let now = keyed("b", Outcome::Ran);
    let earlier = keyed("a", Outcome::Cached);
    assert_eq!(causes(&now, &[&earlier]), [(3, vec![Cause::Definition])]);
    let earlier = keyed("a b", Outcome::Cached);
    assert_eq!(causes(&now, &[&earlier]), [(3, vec![Cause::Gone])]);
}

#[test]
fn a_failed_step_is_no_lost_result() {
    let failed = change(|facts| facts.steps[3].outcome = Outcome::Failed);
    assert_eq!(causes(&failed, &[&failed]), [(3, vec![Cause::Unfinished])]);
    assert_eq!(
        causes(&failed, &[&failed, &build()]),
        [(3, vec![Cause::Gone])]
    );
}

#[test]
fn changed_files_are_looked_up_and_what_follows_is_told() {
    let now = change(|facts| {
        facts.steps[2].contents[0].digest = "files-two".into();
        facts.steps[2].contents[0].tree = Some("tree-two".into());
        facts.steps[2].outcome = Outcome::Ran;
        facts.steps[3].outcome = Outcome::Ran;
    });
    let explained = explained(&now, &[&build()]);
    let files = Cause::Files {
        from: "[internal] load build context".into(),
        changes: FileChanges::Yes {
            first: vec![FileChange {
                path: "tree-one-tree-two".into(),
                what: vec!["content".into()],
            }],
            others: 0,
        },
    };
    assert_eq!(explained[0].causes, [files]);
    assert_eq!(explained[0].root, None);
    assert_eq!(explained[1].causes, [Cause::Follows { step: 2 }]);
    assert_eq!(explained[1].root, Some(2));
}

#[test]
fn a_base_that_is_cached_can_be_another_one() {
    let now = change(|facts| {
        facts.steps[0].facts[1].value = "sha256:two".into();
        facts.steps[2].outcome = Outcome::Ran;
    });
    let digest = changed(Aspect::SourceDigest, "sha256:one", "sha256:two");
    assert_eq!(
        causes(&now, &[&build()]),
        [(0, vec![digest]), (2, vec![Cause::Follows { step: 0 }])]
    );
}

#[test]
fn the_nearest_build_is_compared_with() {
    let far = change(|facts| {
        facts.steps[3].facts[0].value = "another".into();
        facts.steps[3].facts[1].value = "3".into();
    });
    let now = change(|facts| {
        facts.steps[3].facts[1].value = "2".into();
        facts.steps[3].outcome = Outcome::Ran;
    });
    let explained = explained(&now, &[&far, &build()]);
    let compared = explained[0].compared.as_ref().unwrap();
    assert_eq!(compared.build, "older");
    let variable = changed(Aspect::Variable("A".into()), "1", "2");
    assert_eq!(explained[0].causes, [variable]);
}

#[test]
fn builds_of_other_things_say_nothing() {
    let now = change(|facts| {
        for step in &mut facts.steps {
            step.outcome = Outcome::Ran;
        }
    });
    let other = change(|facts| {
        facts.places = vec!["elsewhere".into()];
        for step in &mut facts.steps {
            for fact in &mut step.facts {
                fact.value = format!("other {}", fact.value);
            }
        }
    });
    let first = |step| (step, vec![Cause::FirstBuild]);
    let all = [first(0), first(2), first(3)];
    assert_eq!(causes(&now, &[]), all);
    assert_eq!(causes(&now, &[&other]), all);
}

#[test]
fn the_order_and_what_is_gone() {
    // The command came after another one, which is not there any more.
    let earlier = change(|facts| {
        let mut between = step("[3/4] RUN before", StepKind::Exec, &[2]);
        between.facts = vec![fact(Aspect::Command, "before")];
        facts.steps.insert(3, between);
        facts.steps[4].inputs = vec![3];
        facts.steps[4].name = "[4/4] RUN make".into();
    });
    let now = change(|facts| facts.steps[3].outcome = Outcome::Ran);
    let order = Cause::Order {
        now: Some("[2/3] COPY src /src".into()),
        before: Some("[3/4] RUN before".into()),
        presence: Presence::Removed,
    };
    assert_eq!(causes(&now, &[&earlier]), [(3, vec![order])]);
    // The other way round it is new, and the command follows from it.
    let mut now = earlier.clone();
    now.steps[3].outcome = Outcome::Ran;
    now.steps[4].outcome = Outcome::Ran;
    assert_eq!(
        causes(&now, &[&build()]),
        [(3, vec![Cause::New]), (4, vec![Cause::Follows { step: 3 }])]
    );
}

#[test]
fn what_depends_on_the_session_is_never_cached() {
    let session = change(|facts| {
        facts.steps[2].contents.clear();
        facts.steps[2].outcome = Outcome::Ran;
    });
    assert_eq!(causes(&session, &[&session]), [(2, vec![Cause::Session])]);
}

#[test]
fn a_chain_of_many_steps_is_compared() {
    let chain = |outcome| {
        change(|facts| {
            for number in 4..2000 {
                let mut run = step(&format!("RUN {number}"), StepKind::Exec, &[number - 1]);
                run.facts = vec![fact(Aspect::Command, &number.to_string())];
                run.outcome = outcome;
                facts.steps.push(run);
            }
        })
    };
    let mut now = chain(Outcome::Ran);
    now.steps[4].facts[0].value = "other".into();
    now.steps[4].digest = "another".into();
    let explained = explained(&now, &[&chain(Outcome::Cached)]);
    assert_eq!(explained.len(), 1996);
    assert_eq!(explained[0].causes, [Cause::New]);
    assert_eq!(explained[1995].root, Some(4));
}

#[test]
fn damaged_accounts_are_refused() {
    let account = |facts: &str| {
        let text = format!("{{\"version\":1,\"facts\":{facts}}}");
        Account::from_bytes(text.as_bytes())
    };
    assert!(account("{}").is_ok());
    let dangling = "{\"steps\":[{\"digest\":\"\",\"name\":\"\",\"kind\":\"exec\",\"outcome\":\"ran\",\"inputs\":[0]}]}";
    for bad in ["", "7", "{\"steps\":3}", dangling] {
        assert!(account(bad).is_err(), "{bad}");
    }
    let newer = Account::from_bytes(b"{\"version\":2,\"facts\":{}}");
    assert!(newer.unwrap_err().to_string().contains("version 2"));
}
