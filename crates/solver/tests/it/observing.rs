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
    let toys = [
        Toy::new(&log, "source"),
        Toy::new(&log, "middle").on("source"),
        Toy::new(&log, "top").on("middle"),
    ];
    let store = Store::new("local");
    let run: &[Progress] = &[Added, Started, Completed];
    let looked_up_and_run: &[Progress] = &[Added, Started, Completed, Started, Completed];
    let loaded: &[Progress] = &[Added, CacheStarted, Cached];
    let missed: &[Progress] = &[Added, CacheStarted, CacheMissed, Started, Completed];
    check(
        &store,
        &toys,
        &[("source", looked_up_and_run), ("middle", run), ("top", run)],
    )
    .await;
    // The one in between is not touched at all.
    let skipped: &[Progress] = &[Added, Cached];
    check(
        &store,
        &toys,
        &[("source", run), ("middle", skipped), ("top", loaded)],
    )
    .await;

    *store.results.unreadable.lock().unwrap() = true;
    check(&store, &toys, &[("top", missed)]).await;

    let bad = toys[1].clone().doing(Deed::Fail);
    let toys = [toys[0].clone(), bad, toys[2].clone()];
    let failed: &[Progress] = &[Added, Started, Failed("failed on purpose".into())];
    check(
        &Store::new("other"),
        &toys,
        &[("middle", failed), ("top", &[Added])],
    )
    .await;
}

#[tokio::test]
async fn who_comes_late_is_told_what_happened() {
    let log = Log::default();
    let solver = Store::new("local").solver();
    let toys = [Toy::new(&log, "top")];
    let recorders = [Arc::new(Recorder::default()), Arc::new(Recorder::default())];
    let mut jobs = Vec::new();
    for (name, recorder) in ["first", "second"].iter().zip(&recorders) {
        let job = solver.job(JobId::new(*name), recorder.clone()).unwrap();
        job.solve(graph(&toys), edge("top", 0), vec![])
            .await
            .unwrap();
        jobs.push(job);
    }
    let told = |recorder: &Recorder| recorder.0.lock().unwrap().clone();
    // The first also saw the search for the cache key.
    assert_eq!(told(&recorders[0]).len(), 5);
    let events = [Progress::Added, Progress::Started, Progress::Completed];
    assert_eq!(
        told(&recorders[1]),
        events.map(|event| ("top".to_owned(), event))
    );
}
