//! What jobs are told.

use std::sync::{Arc, Mutex};

use kiln_solver::{JobId, Observer, Progress, VertexEvent};

use crate::toy::{Deed, Log, Store, Toy, edge, graph};

/// Writes down what happens.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, Progress)>>);

impl Observer for Recorder {
    fn vertex(&self, event: VertexEvent) {
        self.0
            .lock()
            .unwrap()
            .push((event.vertex.name.to_string(), event.progress));
    }
}

/// The events of one build, in order within each vertex.
async fn check(store: &Store, toys: &[Toy], expected: &[(&str, &[Progress])]) {
    let solver = store.solver();
    let recorder = Arc::new(Recorder::default());
    let job = solver.job(JobId::new("job"), recorder.clone()).unwrap();
    let _ = job.solve(graph(toys), edge("top", 0), vec![]).await;
    solver.idle().await;
    let seen = recorder.0.lock().unwrap();
    for (name, expected) in expected {
        let of_vertex = seen.iter().filter(|(other, _)| other == name);
        let of_vertex: Vec<&Progress> = of_vertex.map(|(_, progress)| progress).collect();
        assert_eq!(of_vertex, expected.iter().collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test]
async fn every_step_is_told() {
    use Progress::{Added, CacheMissed, CacheStarted, Cached, Completed, Failed, Started};
    let log = Log::default();
    let toys = [Toy::new(&log, "source"), Toy::new(&log, "top").on("source")];
    let store = Store::new("local");
    let source: &[Progress] = &[Added, Started, Completed, Started, Completed];
    check(
        &store,
        &toys,
        &[("source", source), ("top", &[Added, Started, Completed])],
    )
    .await;
    let looked_up: &[Progress] = &[Added, Started, Completed];
    check(
        &store,
        &toys,
        &[
            ("source", looked_up),
            ("top", &[Added, CacheStarted, Cached]),
        ],
    )
    .await;

    *store.results.unreadable.lock().unwrap() = true;
    let missed: &[Progress] = &[Added, CacheStarted, CacheMissed, Started, Completed];
    check(&store, &toys, &[("top", missed)]).await;

    let bad = [
        Toy::new(&log, "bad").doing(Deed::Fail).on("source"),
        toys[0].clone(),
    ];
    let bad = [
        bad[0].clone(),
        bad[1].clone(),
        Toy::new(&log, "top").on("bad"),
    ];
    let failed: &[Progress] = &[Added, Started, Failed("failed on purpose".into())];
    check(
        &Store::new("other"),
        &bad,
        &[("bad", failed), ("top", &[Added])],
    )
    .await;
}
