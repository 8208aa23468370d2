//! What the engine does to its store by itself.

use std::path::Path;

use kiln_engine::history::ListenOptions;
use kiln_engine::{
    Engine, EngineOptions, GcPolicy, GcSettings, HistoryOptions, Upkeep, UsageOptions,
};
use kiln_protocol::control::BuildHistoryEventType;

use super::history::bench::{gated, request, told};

const MEGABYTE: u64 = 1 << 20;
const LIMIT: u64 = 24 * MEGABYTE;

fn open(root: &Path, options: EngineOptions) -> Engine {
    let options = EngineOptions {
        root: root.to_owned(),
        ..options
    };
    Engine::open(options).unwrap()
}

fn limited(root: &Path) -> Engine {
    let policy = GcPolicy {
        all: true,
        max_used_space: LIMIT,
        ..GcPolicy::default()
    };
    let options = EngineOptions {
        gc: GcSettings::Policies(vec![policy]),
        ..EngineOptions::new(root)
    };
    open(root, options)
}

/// Bytes of all records.
async fn used(engine: &Engine) -> u64 {
    let records = engine.disk_usage(UsageOptions::default()).await.unwrap();
    records.iter().map(|record| record.size).sum()
}

/// A context with a new file of so many megabytes.
fn grow(context: &Path, seed: u8, megabytes: u64) {
    std::fs::create_dir_all(context).unwrap();
    // No two blocks are equal, whatever the file system makes of equal ones.
    let bytes = (0..megabytes * MEGABYTE).map(|n| ((n * 31) >> 7) as u8 ^ seed ^ (n as u8));
    std::fs::write(context.join("big"), bytes.collect::<Vec<_>>()).unwrap();
}

const DOCKERFILE: &str = "FROM scratch\nCOPY big /big\n";

/// Fills a store with what no running build needs, then lets a build wait at
/// its output; answers the build and what opens its gate.
async fn fill(
    engine: &Engine,
    context: &Path,
) -> (
    super::history::bench::Key,
    tokio::task::JoinHandle<Result<kiln_engine::BuildOutcome, kiln_engine::BuildError>>,
) {
    for seed in 0..2 {
        grow(context, seed, 8);
        engine.build(request(context, DOCKERFILE)).await.unwrap();
    }
    grow(context, 7, 8);
    let (request, mut key) = gated(request(context, DOCKERFILE));
    let build = tokio::spawn({
        let engine = engine.clone();
        async move { engine.build(request).await }
    });
    key.reached().await;
    (key, build)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_holds_while_a_build_runs() {
    let dir = tempfile::tempdir().unwrap();
    let engine = limited(&dir.path().join("root"));
    let context = dir.path().join("context");
    let (key, build) = fill(&engine, &context).await;
    engine.collect_garbage().await.unwrap();
    let left = used(&engine).await;
    assert!(left <= LIMIT, "{left}");
    assert!(left >= 8 * MEGABYTE, "what the build needs stays: {left}");
    // Nothing more is to be had.
    assert!(engine.collect_garbage().await.unwrap().is_empty());
    key.open();
    build.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_looks_by_itself_while_builds_run() {
    let dir = tempfile::tempdir().unwrap();
    let engine = limited(&dir.path().join("root"));
    let context = dir.path().join("context");
    let (key, build) = fill(&engine, &context).await;
    while used(&engine).await > LIMIT {
        tokio::task::yield_now().await;
    }
    key.open();
    build.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_within_the_limits_or_without_any() {
    let dir = tempfile::tempdir().unwrap();
    let context = dir.path().join("context");
    grow(&context, 1, 1);
    let far = GcPolicy {
        all: true,
        max_used_space: 1 << 50,
        min_free_space: 1,
        ..GcPolicy::default()
    };
    for (name, gc) in [
        ("off", GcSettings::Off),
        ("none", GcSettings::Policies(Vec::new())),
        ("far", GcSettings::Policies(vec![far])),
    ] {
        let root = dir.path().join(name);
        let options = EngineOptions {
            gc,
            ..EngineOptions::new(&root)
        };
        let engine = open(&root, options);
        engine.build(request(&context, DOCKERFILE)).await.unwrap();
        let before = used(&engine).await;
        assert!(engine.collect_garbage().await.unwrap().is_empty());
        assert_eq!(used(&engine).await, before, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_stays_looks_after_its_store_between_builds() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let context = dir.path().join("context");
    grow(&context, 1, 1);
    let history = HistoryOptions {
        max_age: std::time::Duration::ZERO,
        max_entries: 0,
        ..HistoryOptions::default()
    };
    let first = open(&root, EngineOptions::new(&root));
    let request = request(&context, DOCKERFILE);
    let name = request.id.clone();
    first.build(request).await.unwrap();
    let mut listener = first.history().listen(ListenOptions::default()).unwrap();
    listener.next().await.unwrap().unwrap();
    // Its first upkeep comes by itself and finds a record that is too old.
    let options = EngineOptions {
        upkeep: Upkeep::Always,
        history,
        ..EngineOptions::new(&root)
    };
    let _second = open(&root, options);
    let event = listener.next().await.unwrap().unwrap();
    assert_eq!(
        told(&event),
        (BuildHistoryEventType::Deleted, name.as_str())
    );
}
