//! The state builder. What its bytes must be is proved by the Dockerfile frontend's reference cases; here is what those
//! do not reach.

use kiln_llb::build::{
    Access, Constraints, HttpOptions, ImageOptions, LocalOptions, MarshalError, MarshalOptions,
    Mount, MountKind, Run, SourceMap, State,
};
use kiln_llb::caps::{self, Caps};
use kiln_llb::pb::{self, op};
use kiln_llb::{Definition, platform};
use prost::Message as _;
use std::sync::Arc;

fn image(name: &str) -> State {
    State::image(name, ImageOptions::default()).unwrap()
}

fn marshal(state: &State) -> Definition {
    state.marshal(&MarshalOptions::default()).unwrap()
}

fn ops(definition: &Definition) -> Vec<pb::Op> {
    definition
        .ops
        .iter()
        .map(|bytes| pb::Op::decode(bytes.clone()).unwrap())
        .collect()
}

fn exec(definition: &Definition) -> pb::ExecOp {
    let found = ops(definition).into_iter().find_map(|op| match op.op {
        Some(op::Op::Exec(exec)) => Some(exec),
        _ => None,
    });
    found.unwrap()
}

fn run(args: &[&str]) -> Run {
    Run {
        args: args.iter().map(|arg| arg.to_string()).collect(),
        ..Default::default()
    }
}

#[test]
fn combining_leaves_empty_filesystems_out() {
    let (a, scratch) = (image("a"), State::scratch());
    assert!(State::merge(&[scratch.clone(), scratch.clone()], Constraints::new()).is_scratch());
    let alone = State::merge(&[scratch.clone(), a.clone()], Constraints::new());
    assert_eq!(marshal(&alone), marshal(&a));
    assert_eq!(
        marshal(&State::diff(&scratch, &a, Constraints::new())),
        marshal(&a)
    );
    let merged = State::merge(&[a.clone(), scratch, image("b")], Constraints::new());
    let last = ops(&marshal(&merged)).into_iter().nth(2).unwrap();
    assert!(matches!(last.op, Some(op::Op::Merge(merge)) if merge.inputs.len() == 2));
    assert_eq!(last.platform, None);
}

#[test]
fn diff_may_have_no_upper_side() {
    let definition = marshal(&State::diff(
        &image("a"),
        &State::scratch(),
        Constraints::new(),
    ));
    let Some(op::Op::Diff(diff)) = ops(&definition)[1].op.clone() else {
        panic!("no diff")
    };
    assert_eq!(
        (diff.lower.unwrap().input, diff.upper.unwrap().input),
        (0, -1)
    );
}

#[test]
fn passthrough_depends_on_all_and_hands_on_the_first() {
    let definition = marshal(&image("a").requires("id", &[image("b"), State::scratch()]));
    let op = ops(&definition).into_iter().nth(2).unwrap();
    assert_eq!(op.inputs.len(), 2);
    assert!(
        matches!(op.op, Some(op::Op::Passthrough(pass)) if pass.id == "id" && pass.outputs == [0])
    );
}

#[test]
fn outputs_of_mounts_are_numbered_by_target() {
    let mut process = run(&["x"]);
    let mut cache = Mount::new("/b", State::scratch());
    cache.kind = MountKind::Cache {
        id: "c".into(),
        sharing: pb::CacheSharingOpt::Shared,
    };
    let mut discarded = Mount::new("/a", image("b"));
    discarded.access = Access::Discard;
    process.mounts = vec![
        Mount::new("/z", image("a")),
        cache,
        discarded,
        Mount::new("/c", State::scratch()),
    ];
    let result = image("a").run(process);
    let mounts = exec(&marshal(&result.root)).mounts;
    let seen: Vec<_> = mounts
        .iter()
        .map(|mount| (mount.dest.as_str(), mount.input, mount.output))
        .collect();
    assert_eq!(
        seen,
        [
            ("/", 0, 0),
            ("/a", 1, -1),
            ("/b", -1, -1),
            ("/c", -1, 1),
            ("/z", 0, 2)
        ]
    );
    assert!(
        result.mount("/a").is_none()
            && result.mount("/b").is_none()
            && result.mount("/nope").is_none()
    );
    let definition = marshal(&result.mount("/z").unwrap());
    assert_eq!(ops(&definition).last().unwrap().inputs[0].index, 2);
}

#[test]
fn a_read_only_root_stays_what_it_was() {
    let mut process = run(&["x"]);
    process.root = Access::ReadOnly;
    process.mounts = vec![Mount::new("/out", State::scratch())];
    let base = image("a");
    let result = base.run(process);
    assert_eq!(marshal(&result.root), marshal(&base));
    assert_eq!(
        exec(&marshal(&result.mount("/out").unwrap())).mounts.len(),
        2
    );
}

#[test]
fn servers_that_set_no_path_get_one() {
    let state = image("a").run(run(&["x"])).root;
    let path = |caps: Option<Caps>| {
        let options = MarshalOptions {
            caps,
            ..Default::default()
        };
        exec(&state.marshal(&options).unwrap()).meta.unwrap().env
    };
    assert!(path(None).is_empty());
    assert!(path(Some(Caps::all())).is_empty());
    let old = path(Some([caps::FILE_BASE].into_iter().collect()));
    assert_eq!(
        old,
        ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    );
}

#[test]
fn settings_stay_with_the_state_but_not_those_of_one_process() {
    let base = image("a")
        .add_env("A", "1")
        .dir("x")
        .dir("../y")
        .user("u")
        .hostname("h");
    let mut process = run(&["x"]);
    process.settings = Some(base.add_env("B", "2").settings().clone());
    let after = base.run(process).root;
    let meta = exec(&marshal(&after)).meta.unwrap();
    assert_eq!(
        (meta.env.as_slice(), meta.cwd.as_str()),
        (["A=1".to_string(), "B=2".into()].as_slice(), "/y")
    );
    assert_eq!(after.settings().env.to_words(), ["A=1"]);
    // Setting a name again moves it to the end.
    assert_eq!(
        after
            .add_env("C", "3")
            .add_env("A", "4")
            .settings()
            .env
            .to_words(),
        ["C=3", "A=4"]
    );
}

#[test]
fn local_directories_without_session_are_told_apart() {
    let mut options = MarshalOptions::default();
    options.constraints.local_unique_id = Some("u".into());
    let definition = State::local("d", LocalOptions::default())
        .marshal(&options)
        .unwrap();
    let Some(op::Op::Source(source)) = ops(&definition)[0].op.clone() else {
        panic!("no source")
    };
    assert_eq!(
        source.attrs.get("local.unique").map(String::as_str),
        Some("u")
    );
}

#[test]
fn platforms_come_from_the_step_the_state_or_the_build() {
    let arm = platform::parse("linux/arm64").unwrap();
    let options = MarshalOptions {
        constraints: Constraints::new().platform(arm.clone()),
        caps: None,
    };
    let architecture = |state: &State| {
        let definition = state.marshal(&options).unwrap();
        let platform = ops(&definition)
            .into_iter()
            .rev()
            .find_map(|op| op.platform);
        platform.unwrap().architecture
    };
    assert_eq!(architecture(&image("a")), "arm64");
    let riscv = platform::parse("linux/riscv64").unwrap();
    let pinned = ImageOptions {
        constraints: Constraints::new().platform(riscv),
        ..Default::default()
    };
    let pinned = State::image("a", pinned).unwrap();
    assert_eq!(architecture(&pinned.run(run(&["x"])).root), "riscv64");
    let mut process = run(&["x"]);
    process.constraints = process.constraints.platform(arm);
    assert_eq!(architecture(&pinned.run(process).root), "arm64");
}

#[test]
fn equal_files_are_one_source_map() {
    let map = || {
        Arc::new(SourceMap {
            definition: None,
            filename: "F".into(),
            language: "L".into(),
            data: "x\ny\n".into(),
        })
    };
    let line = |line| {
        vec![pb::Range {
            start: Some(pb::Position { line, character: 0 }),
            end: None,
        }]
    };
    let named = |name: &str, at| {
        let constraints = Constraints::new().location(&map(), line(at));
        State::http(
            name,
            HttpOptions {
                constraints,
                ..Default::default()
            },
        )
    };
    let merged = State::merge(
        &[named("http://a", 1), named("http://b", 2)],
        Constraints::new(),
    );
    let source = marshal(&merged).source.unwrap();
    assert_eq!(source.infos.len(), 1);
    let lines: Vec<_> = source
        .locations
        .values()
        .flat_map(|it| &it.locations)
        .collect();
    assert!(lines.len() == 2 && lines.iter().all(|location| location.source_index == 0));
}

#[test]
fn equal_ops_are_sent_once_with_what_is_said_about_either() {
    let named = |name: &str| {
        let constraints = Constraints::new().describe(name, "1");
        State::image(
            "a",
            ImageOptions {
                constraints,
                ..Default::default()
            },
        )
        .unwrap()
    };
    let definition = marshal(&State::merge(&[named("x"), named("y")], Constraints::new()));
    assert_eq!(definition.ops.len(), 3);
    let described = definition
        .metadata
        .values()
        .find(|it| !it.description.is_empty())
        .unwrap();
    assert_eq!(described.description.len(), 2);
}

#[test]
fn a_deferred_state_is_what_it_turns_out_to_be() {
    let (state, end) = State::deferred();
    let mut process = run(&["x"]);
    process.mounts = vec![
        Mount::new("/m", state.clone()),
        Mount::new("/n", image("b")),
    ];
    let result = image("a").run(process).root;
    end.resolve(&image("b"));
    assert_eq!(exec(&marshal(&result)).mounts[1].input, 1);
    assert_eq!(ops(&marshal(&result)).len(), 4);
    // One that nobody resolves is empty.
    let (state, _end) = State::deferred();
    assert!(marshal(&state).is_scratch());
}

#[test]
fn nonsense_is_refused() {
    let fails = |state: &State| state.marshal(&MarshalOptions::default()).unwrap_err();
    assert_eq!(
        fails(&image("a").run(Run::default()).root),
        MarshalError::NoArguments
    );
    let mut process = run(&["x"]);
    let mut tmpfs = Mount::new("/t", image("b"));
    tmpfs.kind = MountKind::Tmpfs { size: 0 };
    process.mounts = vec![tmpfs];
    assert_eq!(
        fails(&image("a").run(process).root),
        MarshalError::TmpfsSource("/t".into())
    );
    let no_actions = image("a").file(Default::default(), Constraints::new());
    assert_eq!(fails(&no_actions), MarshalError::NoActions);
    assert!(State::image("UPPER CASE", ImageOptions::default()).is_err());
}
