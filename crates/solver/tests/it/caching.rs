//! What is taken from caches, and what runs.

use kiln_solver::{CacheDep, Job, KeyStore, StoredResult};
use std::time::{Duration, SystemTime};

use crate::toy::{Log, Store, Toy, build, build_with, digest, edge, graph, job};

/// A second build with other toys: what ran, and which digests of content were
/// computed. The first build is of `before`.
async fn check(before: &[Toy], after: &[Toy], log: &Log, runs: &[&str], digests: &[&str]) {
    let store = Store::new("local");
    build(&store, before, "top").await.unwrap();
    log.clear();
    build(&store, after, "top").await.unwrap();
    assert_eq!(log.take("run"), runs);
    assert_eq!(log.take("digest"), digests);
}

#[tokio::test]
async fn an_unchanged_build_runs_nothing_and_loads_one_result() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "middle").on_content("source"),
        Toy::new(&log, "top").on("middle").on_content("source"),
    ];
    check(&toys, &toys, &log, &[], &[]).await;
    let store = Store::new("local");
    build(&store, &toys, "top").await.unwrap();
    build(&store, &toys, "top").await.unwrap();
    assert_eq!(*store.results.loads.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_changed_source_of_equal_content_is_noticed_by_content() {
    let log = Log::default();
    let toys = |key| {
        [
            Toy::new(&log, "source").keyed(&[key]).value(5),
            Toy::new(&log, "middle").on_content("source"),
            Toy::new(&log, "top").on("middle"),
        ]
    };
    check(&toys("one"), &toys("two"), &log, &["source"], &["middle 0"]).await;
}

#[tokio::test]
async fn content_known_once_is_known_by_the_definition_afterwards() {
    let log = Log::default();
    let toys = |key| {
        [
            Toy::new(&log, "source").keyed(&[key]).value(5),
            Toy::new(&log, "top").on_content("source"),
        ]
    };
    let store = Store::new("local");
    for (key, runs) in [
        ("one", vec!["source", "top"]),
        ("two", vec!["source"]),
        ("two", vec![]),
    ] {
        build(&store, &toys(key), "top").await.unwrap();
        assert_eq!(log.take("run"), runs, "{key}");
    }
}

#[tokio::test]
async fn other_content_runs_what_depends_on_it() {
    let log = Log::default();
    let toys = |key, value| {
        [
            Toy::new(&log, "source").keyed(&[key]).value(value),
            Toy::new(&log, "base"),
            Toy::new(&log, "top").on("base").on_content("source"),
        ]
    };
    let runs = ["base", "source", "top"];
    check(
        &toys("one", 1),
        &toys("two", 2),
        &log,
        &runs[1..],
        &["top 1"],
    )
    .await;
}

#[tokio::test]
async fn without_content_keys_only_the_definition_counts() {
    let log = Log::default();
    let toys = |key| {
        [
            Toy::new(&log, "source").keyed(&[key]).value(5),
            Toy::new(&log, "top").on("source"),
        ]
    };
    check(&toys("one"), &toys("two"), &log, &["source", "top"], &[]).await;
}

#[tokio::test]
async fn another_selector_is_another_key() {
    let log = Log::default();
    let toys = |selector| {
        let dep = CacheDep {
            selector: Some(digest(selector)),
            content: false,
        };
        [
            Toy::new(&log, "source"),
            Toy::new(&log, "top").on_dep("source", 0, dep),
        ]
    };
    check(&toys("/a"), &toys("/a"), &log, &[], &[]).await;
    check(&toys("/a"), &toys("/b"), &log, &["top"], &[]).await;
}

#[tokio::test]
async fn another_output_is_another_key() {
    let log = Log::default();
    let toys = |output| {
        let dep = CacheDep::default();
        [
            Toy::new(&log, "source"),
            Toy::new(&log, "top").on_dep("source", output, dep),
        ]
    };
    let store = Store::new("local");
    assert_eq!(build(&store, &toys(0), "top").await.unwrap().output, 2);
    assert_eq!(build(&store, &toys(1), "top").await.unwrap().output, 102);
}

#[tokio::test]
async fn any_of_several_cache_maps_may_match() {
    let log = Log::default();
    let toys = |keys: &[&str]| {
        [
            Toy::new(&log, "source").keyed(keys),
            Toy::new(&log, "top").on("source"),
        ]
    };
    let first = toys(&["moving", "fixed"]);
    check(&first, &toys(&["moved", "fixed"]), &log, &[], &[]).await;
    check(&first, &toys(&["moving", "other"]), &log, &[], &[]).await;
    check(
        &first,
        &toys(&["moved", "other"]),
        &log,
        &["source", "top"],
        &[],
    )
    .await;
}

#[tokio::test]
async fn ignoring_the_cache_runs_and_saves() {
    let log = Log::default();
    let toys = |ignore: bool| {
        let middle = Toy::new(&log, "middle").on("source");
        let middle = if ignore {
            middle.ignoring_cache()
        } else {
            middle
        };
        [
            Toy::new(&log, "source"),
            middle,
            Toy::new(&log, "by-definition").on("middle"),
            Toy::new(&log, "top")
                .on_content("middle")
                .on("by-definition"),
        ]
    };
    // What uses its definition runs as well. It then has the key it had before,
    // and as the content has not changed either, the top is found again.
    check(
        &toys(false),
        &toys(true),
        &log,
        &["by-definition", "middle"],
        &["top 0"],
    )
    .await;
    check(&toys(true), &toys(false), &log, &[], &[]).await;
}

#[tokio::test]
async fn ignoring_the_cache_is_passed_by_equal_content() {
    let log = Log::default();
    let toys = |ignore: bool| {
        let middle = Toy::new(&log, "middle");
        let middle = if ignore {
            middle.ignoring_cache()
        } else {
            middle
        };
        [middle, Toy::new(&log, "top").on_content("middle")]
    };
    check(&toys(false), &toys(true), &log, &["middle"], &["top 0"]).await;
}

#[tokio::test]
async fn a_result_that_does_not_load_is_a_miss() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "top").on_content("source"),
    ];
    let store = Store::new("local");
    build(&store, &toys, "top").await.unwrap();
    log.clear();
    *store.results.unreadable.lock().unwrap() = true;
    assert_eq!(build(&store, &toys, "top").await.unwrap().output, 2);
    assert_eq!(log.take("run"), ["source", "top"]);
}

#[tokio::test]
async fn an_import_serves_and_is_kept() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "middle").on("source"),
        Toy::new(&log, "top").on("middle"),
        Toy::new(&log, "beside").on("middle"),
    ];
    let (local, remote, empty) = (
        Store::new("local"),
        Store::new("remote"),
        Store::new("empty"),
    );
    build(&remote, &toys, "top").await.unwrap();
    log.clear();
    let imports = vec![empty.cache.clone(), remote.cache.clone()];
    assert_eq!(
        build_with(&local, &toys, "top", imports)
            .await
            .unwrap()
            .output,
        3
    );
    assert_eq!(log.take("run"), Vec::<String>::new());
    // Without the import from now on.
    assert_eq!(build(&local, &toys, "top").await.unwrap().output, 3);
    assert_eq!(log.take("run"), Vec::<String>::new());
    // The keys of the source are local, but there is no result to build on.
    assert_eq!(build(&local, &toys, "beside").await.unwrap().output, 3);
    assert_eq!(log.take("run"), ["beside", "middle", "source"]);
}

#[tokio::test]
async fn of_several_results_the_newest_wins() {
    let log = Log::default();
    let toys = [Toy::new(&log, "top")];
    let store = Store::new("local");
    build(&store, &toys, "top").await.unwrap();
    let key = kiln_solver::root_key(&digest("top"), 0).to_string();
    let results = &store.cache.results;
    for (value, age) in [(7, 100), (8, 50)] {
        let created = SystemTime::now() + Duration::from_secs(1000 - age);
        let id = results.save(&value, created).await.unwrap();
        store
            .cache
            .keys
            .add_result(&key, &StoredResult { id, created })
            .unwrap();
    }
    assert_eq!(build(&store, &toys, "top").await.unwrap().output, 8);
}

#[tokio::test]
async fn a_broken_key_store_costs_time_only() {
    /// Fails at everything.
    struct Broken;
    type Answer<T> = Result<T, kiln_solver::CacheError>;
    impl KeyStore for Broken {
        fn exists(&self, _: &str) -> Answer<bool> {
            Err("broken".into())
        }
        fn result_ids(&self) -> Answer<Vec<String>> {
            Err("broken".into())
        }
        fn results(&self, _: &str) -> Answer<Vec<StoredResult>> {
            Err("broken".into())
        }
        fn add_result(&self, _: &str, _: &StoredResult) -> Answer<()> {
            Err("broken".into())
        }
        fn release(&self, _: &str) -> Answer<()> {
            Err("broken".into())
        }
        fn keys_of_result(&self, _: &str) -> Answer<Vec<String>> {
            Err("broken".into())
        }
        fn add_link(&self, _: &str, _: &kiln_solver::Link, _: &str) -> Answer<()> {
            Err("broken".into())
        }
        fn links(&self, _: &str, _: &kiln_solver::Link) -> Answer<Vec<String>> {
            Err("broken".into())
        }
        fn has_link(&self, _: &str, _: &kiln_solver::Link, _: &str) -> Answer<bool> {
            Err("broken".into())
        }
        fn backlinks(&self, _: &str) -> Answer<Vec<(String, kiln_solver::Link)>> {
            Err("broken".into())
        }
    }
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "top").on_content("source"),
    ];
    let mut store = Store::new("local");
    store.cache.keys = std::sync::Arc::new(Broken);
    assert_eq!(build(&store, &toys, "top").await.unwrap().output, 2);
}

async fn top(job: &Job<Toy>, toys: &[Toy]) -> u64 {
    let solved = job.solve(graph(toys), edge("top", 0), vec![]).await;
    solved.unwrap().output
}

#[tokio::test]
async fn results_that_are_lost_later_are_made_again() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "middle").on("source").value(5),
        Toy::new(&log, "other").on("source"),
        Toy::new(&log, "top").on("middle").on("other"),
    ];
    let store = Store::new("local");
    build(&store, &toys[..3], "middle").await.unwrap();
    build(&store, &toys[..3], "other").await.unwrap();
    let solver = store.solver();
    let (job, neighbour) = (job(&solver, "job"), job(&solver, "neighbour"));
    assert_eq!(top(&neighbour, &toys).await, 9);
    assert_eq!(top(&job, &toys).await, 9);
    log.clear();

    let lost: Vec<_> = job
        .outputs()
        .into_iter()
        .filter(|(_, it)| *it == 6)
        .collect();
    assert_eq!(lost.len(), 1);
    *store.results.unreadable.lock().unwrap() = true;
    job.disown(&[lost[0].0]);
    assert_eq!(top(&job, &toys).await, 9);
    // What was not lost is shared as before; what builds on the loss is made again, too.
    assert_eq!(log.take("run"), ["middle", "source", "top"]);
    // Once is enough for all, and twice no harm.
    job.disown(&[lost[0].0]);
    assert_eq!(top(&neighbour, &toys).await, 9);
    assert_eq!(log.take("run"), Vec::<String>::new());
    drop((job, neighbour));
    assert_eq!(solver.size(), 0);
}
