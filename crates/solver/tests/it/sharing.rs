//! Jobs share work.

use std::sync::Arc;

use kiln_solver::{CacheDep, JobError, JobId};
use tokio::sync::Semaphore;

use crate::toy::{Deed, Log, Store, Toy, edge, graph, job};

fn waiting() -> (Arc<Semaphore>, Arc<Semaphore>, Deed) {
    let (here, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    (here.clone(), go.clone(), Deed::Wait(here, go))
}

#[tokio::test]
async fn independent_inputs_run_at_the_same_time() {
    let log = Log::default();
    let (here, go, wait) = waiting();
    let toys = [
        Toy::new(&log, "left").doing(wait.clone()),
        Toy::new(&log, "right").doing(wait),
        Toy::new(&log, "top").on("left").on("right"),
    ];
    let solver = Store::new("local").solver();
    let job = job(&solver, "job");
    let solve = job.solve(graph(&toys), edge("top", 0), vec![]);
    let release = async {
        here.acquire_many(2).await.unwrap().forget();
        go.add_permits(2);
    };
    assert_eq!(tokio::join!(solve, release).0.unwrap().output, 3);
    // Inputs are prepared as they come, each once.
    assert_eq!(log.take("prepare"), ["top 0", "top 1"]);
}

#[tokio::test]
async fn a_vertex_of_two_jobs_runs_once() {
    let log = Log::default();
    let (here, go, wait) = waiting();
    let toys = [
        Toy::new(&log, "shared").doing(wait),
        Toy::new(&log, "top").on("shared"),
    ];
    let solver = Store::new("local").solver();
    let (first, second) = (job(&solver, "first"), job(&solver, "second"));
    let solves = async {
        tokio::join!(
            first.solve(graph(&toys), edge("top", 0), vec![]),
            second.solve(graph(&toys), edge("top", 1), vec![]),
        )
    };
    let release = async {
        here.acquire().await.unwrap().forget();
        go.add_permits(1);
    };
    let ((first, second), ()) = tokio::join!(solves, release);
    assert_eq!((first.unwrap().output, second.unwrap().output), (2, 102));
    assert_eq!(log.take("run"), ["shared", "top"]);
}

#[tokio::test]
async fn a_vertex_of_two_realms_runs_for_each() {
    let log = Log::default();
    let (here, go, wait) = waiting();
    let toys = [
        Toy::new(&log, "shared").doing(wait.clone()),
        Toy::new(&log, "top").on("shared"),
    ];
    let others = [
        Toy::new(&log, "shared")
            .keyed(&["other"])
            .value(10)
            .doing(wait),
        Toy::new(&log, "top").on("shared"),
    ];
    let others = others.map(|toy| toy.in_realm("-other"));
    let solver = Store::new("local").solver();
    let (first, second) = (job(&solver, "first"), job(&solver, "second"));
    let solves = async {
        tokio::join!(
            first.solve(graph(&toys), edge("top", 0), vec![]),
            second.solve(graph(&others), edge("top", 0), vec![]),
        )
    };
    let release = async {
        here.acquire_many(2).await.unwrap().forget();
        go.add_permits(2);
    };
    let ((first, second), ()) = tokio::join!(solves, release);
    assert_eq!((first.unwrap().output, second.unwrap().output), (2, 11));
}

#[tokio::test]
async fn a_second_solve_of_a_job_finds_the_first_in_memory() {
    let log = Log::default();
    let store = Store::new("local");
    let solver = store.solver();
    let job = job(&solver, "job");
    let toys = [Toy::new(&log, "source"), Toy::new(&log, "top").on("source")];
    for _ in 0..2 {
        job.solve(graph(&toys), edge("top", 0), vec![])
            .await
            .unwrap();
    }
    assert_eq!(log.take("run"), ["source", "top"]);
    assert_eq!(*store.results.loads.lock().unwrap(), 0);
}

/// Vertices that differ in name only become one while they are worked on.
async fn check_merged(toys: &[Toy], log: &Log, runs: &[&str], sum: u64) {
    let solver = Store::new("local").solver();
    let job = job(&solver, "job");
    let solved = job
        .solve(graph(toys), edge("top", 0), vec![])
        .await
        .unwrap();
    assert_eq!(solved.output, sum);
    assert_eq!(log.take("run"), runs);
}

#[tokio::test]
async fn equal_definitions_merge() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "a").keyed(&["same"]).on("source"),
        Toy::new(&log, "b").keyed(&["same"]).on("source"),
        // These are equal because their inputs are.
        Toy::new(&log, "on-a").keyed(&["same too"]).on("a"),
        Toy::new(&log, "on-b").keyed(&["same too"]).on("b"),
        Toy::new(&log, "top").on("on-a").on("on-b"),
    ];
    let solver = Store::new("local").solver();
    let job = job(&solver, "job");
    let solved = job
        .solve(graph(&toys), edge("top", 0), vec![])
        .await
        .unwrap();
    assert_eq!(solved.output, 7);
    assert_eq!(log.take("run").len(), 4);
}

#[tokio::test]
async fn equal_content_merges() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "x").value(5),
        Toy::new(&log, "y").value(5),
        Toy::new(&log, "a").keyed(&["same"]).on_content("x"),
        Toy::new(&log, "b").keyed(&["same"]).on_content("y"),
        Toy::new(&log, "top").on("a").on("b"),
    ];
    let store = Store::new("local");
    let solver = store.solver();
    let job = job(&solver, "job");
    let solved = job
        .solve(graph(&toys), edge("top", 0), vec![])
        .await
        .unwrap();
    assert_eq!(solved.output, 13);
    // Whichever comes later is served by the other, at run time or by the cache.
    assert_eq!(log.take("run").len(), 4);
}

#[tokio::test]
async fn another_selector_does_not_merge() {
    let log = Log::default();
    let dep = |selector: &str| CacheDep {
        selector: Some(crate::toy::digest(selector)),
        content: false,
    };
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "a")
            .keyed(&["same"])
            .on_dep("source", 0, dep("/a")),
        Toy::new(&log, "b")
            .keyed(&["same"])
            .on_dep("source", 0, dep("/b")),
        Toy::new(&log, "top").on("a").on("b"),
    ];
    check_merged(&toys, &log, &["a", "b", "source", "top"], 5).await;
}

#[tokio::test]
async fn an_op_that_changes_nothing_is_not_merged_into_its_input() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source").value(0),
        Toy::new(&log, "a")
            .keyed(&["same"])
            .value(0)
            .on_content("source"),
        Toy::new(&log, "b")
            .keyed(&["same"])
            .value(0)
            .on_content("a"),
        Toy::new(&log, "top").on("b"),
    ];
    // The second finds the first in the cache.
    check_merged(&toys, &log, &["a", "source", "top"], 1).await;
}

#[tokio::test]
async fn a_run_without_cache_serves_those_who_allow_it_but_not_the_reverse() {
    let log = Log::default();
    let store = Store::new("local");
    let solver = store.solver();
    let plain = [Toy::new(&log, "top")];
    let fresh = [Toy::new(&log, "top").ignoring_cache()];
    let jobs: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|name| job(&solver, name))
        .collect();
    jobs[0]
        .solve(graph(&plain), edge("top", 0), vec![])
        .await
        .unwrap();
    jobs[1]
        .solve(graph(&fresh), edge("top", 0), vec![])
        .await
        .unwrap();
    assert_eq!(log.take("run"), ["top", "top"]);
    jobs[2]
        .solve(graph(&plain), edge("top", 0), vec![])
        .await
        .unwrap();
    assert_eq!(log.take("run"), Vec::<String>::new());
}

#[tokio::test]
async fn job_names_are_free_again_after_the_job() {
    let solver = Store::new("local").solver();
    let first = job(&solver, "job");
    let taken = solver.job(JobId::new("job"), Arc::new(())).err();
    assert_eq!(taken, Some(JobError::Exists(JobId::new("job"))));
    drop(first);
    assert!(solver.job(JobId::new("job"), Arc::new(())).is_ok());
}
