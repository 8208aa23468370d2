//! Failures, cancellation, and what is left afterwards: nothing.

use std::sync::Arc;

use kiln_solver::{SolveError, Stage};
use tokio::sync::Semaphore;

use crate::toy::{Deed, Log, Store, Toy, digest, edge, graph, job};

fn waiting() -> (Arc<Semaphore>, Arc<Semaphore>, Deed) {
    let (here, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    (here.clone(), go.clone(), Deed::Wait(here, go))
}

#[tokio::test]
async fn a_failure_names_the_vertex_and_cancels_the_rest() {
    let log = Log::default();
    let (here, _go, wait) = waiting();
    let (failing, fail_now, wait_to_fail) = waiting();
    let toys = [
        Toy::new(&log, "slow").doing(wait),
        Toy::new(&log, "gate").doing(wait_to_fail),
        Toy::new(&log, "bad").doing(Deed::Fail).on("gate"),
        Toy::new(&log, "top").on("slow").on("bad"),
    ];
    let solver = Store::new("local").solver();
    let job = job(&solver, "job");
    let solve = job.solve(graph(&toys), edge("top", 0), vec![]);
    let release = async {
        // Both branches are under way before one fails.
        here.acquire().await.unwrap().forget();
        failing.acquire().await.unwrap().forget();
        fail_now.add_permits(1);
    };
    let error = tokio::join!(solve, release).0.unwrap_err();
    let SolveError::Vertex(failure) = &error else {
        panic!("{error}")
    };
    assert_eq!(failure.vertex, digest("bad"));
    assert_eq!(failure.stage, Stage::Execute);
    assert_eq!(failure.inputs, [edge("gate", 0)]);
    assert_eq!(error.to_string(), "bad: failed on purpose");
    solver.idle().await;
    assert_eq!(log.take("cancelled"), ["slow"]);
    assert_eq!(log.take("run"), ["bad", "gate", "slow"]);
}

#[tokio::test]
async fn a_panic_is_an_error_of_the_vertex() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "bad").doing(Deed::Panic),
        Toy::new(&log, "top").on("bad"),
    ];
    let solver = Store::new("local").solver();
    let job = job(&solver, "job");
    let error = job
        .solve(graph(&toys), edge("top", 0), vec![])
        .await
        .unwrap_err();
    let SolveError::Panicked {
        vertex, message, ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (vertex, message.as_str()),
        (digest("bad"), "panicked on purpose")
    );
}

#[tokio::test]
async fn wrong_requests_are_errors() {
    let log = Log::default();
    let toys = [Toy::new(&log, "top")];
    let solver = Store::new("local").solver();
    let job = job(&solver, "job");
    let unknown = job
        .solve(graph(&toys), edge("other", 0), vec![])
        .await
        .unwrap_err();
    assert!(matches!(unknown, SolveError::UnknownVertex(vertex) if vertex == digest("other")));
    let output = job
        .solve(graph(&toys), edge("top", 7), vec![])
        .await
        .unwrap_err();
    assert!(matches!(
        output,
        SolveError::NoSuchOutput {
            output: 7,
            count: 2,
            ..
        }
    ));
}

#[tokio::test]
async fn a_job_that_ends_cancels_only_what_nobody_else_wants() {
    let log = Log::default();
    let (here, go, wait) = waiting();
    let (own_here, _own_go, own_wait) = waiting();
    let shared = Toy::new(&log, "shared").doing(wait);
    let first = [
        shared.clone(),
        Toy::new(&log, "own").doing(own_wait),
        Toy::new(&log, "first").on("shared").on("own"),
    ];
    let second = [shared, Toy::new(&log, "second").on("shared")];
    let solver = Store::new("local").solver();
    let (one, two) = (job(&solver, "one"), job(&solver, "two"));
    let (graph_one, graph_two) = (graph(&first), graph(&second));
    let one_solve = one.solve(graph_one, edge("first", 0), vec![]);
    let two_solve = two.solve(graph_two, edge("second", 0), vec![]);
    let end = async {
        here.acquire().await.unwrap().forget();
        own_here.acquire().await.unwrap().forget();
        one.cancel();
    };
    let release = async {
        let (answer, ()) = tokio::join!(one_solve, end);
        assert!(matches!(answer, Err(SolveError::Cancelled)));
        go.add_permits(1);
    };
    assert_eq!(tokio::join!(two_solve, release).0.unwrap().output, 2);
    solver.idle().await;
    assert_eq!(log.take("cancelled"), ["own"]);
    assert_eq!(log.take("run"), ["own", "second", "shared"]);
    // An ended job stays ended.
    let again = one.solve(graph(&second), edge("second", 0), vec![]).await;
    assert!(matches!(again, Err(SolveError::Cancelled)));
}

#[tokio::test]
async fn what_was_cancelled_runs_again_when_wanted_again() {
    let log = Log::default();
    let (here, go, wait) = waiting();
    let toys = [
        Toy::new(&log, "slow").doing(wait),
        Toy::new(&log, "top").on("slow"),
    ];
    let solver = Store::new("local").solver();
    let job = job(&solver, "job");
    {
        let solve = job.solve(graph(&toys), edge("top", 0), vec![]);
        tokio::select! {
            _ = solve => panic!("it waits"),
            permit = here.acquire() => permit.unwrap().forget(),
        }
    }
    go.add_permits(2);
    let solved = job
        .solve(graph(&toys), edge("top", 0), vec![])
        .await
        .unwrap();
    assert_eq!(solved.output, 2);
}

#[tokio::test]
async fn nothing_is_kept_after_the_last_job() {
    let log = Log::default();
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "bad").doing(Deed::Fail).on("source"),
        Toy::new(&log, "top").on("source"),
    ];
    let solver = Store::new("local").solver();
    let job = job(&solver, "job");
    let solved = job
        .solve(graph(&toys), edge("top", 0), vec![])
        .await
        .unwrap();
    job.solve(graph(&toys), edge("bad", 0), vec![])
        .await
        .unwrap_err();
    assert_ne!(solver.size(), 0);
    drop(job);
    solver.idle().await;
    assert_eq!(solver.size(), 0);
    // What is exported later does not need the job.
    assert_eq!(solved.output, 2);
}

#[tokio::test(start_paused = true)]
async fn an_op_that_does_not_heed_cancellation_is_dropped_in_the_end() {
    let log = Log::default();
    let here = Arc::new(Semaphore::new(0));
    let toys = [Toy::new(&log, "deaf").doing(Deed::Hang(here.clone()))];
    let solver = Store::new("local").solver();
    let job = job(&solver, "job");
    let solve = job.solve(graph(&toys), edge("deaf", 0), vec![]);
    let end = async {
        here.acquire().await.unwrap().forget();
        job.cancel();
    };
    // The solve itself does not wait for that.
    assert!(matches!(
        tokio::join!(solve, end).0,
        Err(SolveError::Cancelled)
    ));
    solver.idle().await;
    drop(job);
    assert_eq!(solver.size(), 0);
}
