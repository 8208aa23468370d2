//! What listeners are told.

use kiln_engine::history::{HistoryError, ListenOptions, Listener, Scope};
use kiln_protocol::control::BuildHistoryEventType;
use kiln_protocol::control::BuildHistoryEventType::{Complete, Deleted, Started};

use super::bench::{BAD, Bench, GOOD, gated, listed, told};

async fn next(listener: &mut Listener) -> (BuildHistoryEventType, String) {
    let event = listener.next().await.unwrap().unwrap();
    let (kind, build) = told(&event);
    (kind, build.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_hear_of_beginning_end_and_removal() {
    let bench = Bench::new();
    let history = bench.engine.history();
    let mut listener = history.listen(ListenOptions::default()).unwrap();
    let (request, mut key) = gated(bench.request(GOOD));
    let name = request.id.clone();
    let engine = bench.engine.clone();
    let build = tokio::spawn(async move { engine.build(request).await });
    assert_eq!(next(&mut listener).await, (Started, name.clone()));
    key.reached().await;
    // Whoever comes while it runs hears of it, too.
    let mut late = history.listen(ListenOptions::default()).unwrap();
    assert_eq!(next(&mut late).await, (Started, name.clone()));
    key.open();
    build.await.unwrap().unwrap();
    for listener in [&mut listener, &mut late] {
        assert_eq!(next(listener).await, (Complete, name.clone()));
    }
    history.set_pinned(&name, true).await.unwrap();
    let event = listener.next().await.unwrap().unwrap();
    assert_eq!(told(&event), (Complete, name.as_str()));
    let record = event.record.unwrap();
    assert_eq!((record.pinned, record.generation), (true, 1));
    // Pinning what is pinned changes nothing.
    history.set_pinned(&name, true).await.unwrap();
    history.delete(&name).await.unwrap();
    assert_eq!(next(&mut listener).await, (Deleted, name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_build_is_told_whole() {
    let bench = Bench::new();
    let mut listener = bench
        .engine
        .history()
        .listen(ListenOptions::default())
        .unwrap();
    let (seen, _) = tokio::join!(
        async {
            let mut seen = Vec::new();
            for _ in 0..4 {
                seen.push(next(&mut listener).await);
            }
            seen
        },
        async {
            let good = bench.build(GOOD).await.0;
            (good, bench.build(BAD).await.0)
        }
    );
    let (first, second) = (&seen[0].1, &seen[2].1);
    assert_ne!(first, second);
    let expected = [
        (Started, first),
        (Complete, first),
        (Started, second),
        (Complete, second),
    ];
    assert_eq!(seen, expected.map(|(kind, build)| (kind, build.clone())));
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_may_want_less() {
    let bench = Bench::new();
    let first = bench.build(GOOD).await.0;
    let second = bench.build(BAD).await.0;
    let (request, mut key) = gated(bench.request(GOOD));
    let running = request.id.clone();
    let engine = bench.engine.clone();
    let build = tokio::spawn(async move { engine.build(request).await });
    key.reached().await;
    let none: Vec<String> = Vec::new();
    let by_name = |name: &String| ListenOptions {
        build: Some(name.clone()),
        ..ListenOptions::default()
    };
    let cases = [
        (
            ListenOptions::default(),
            vec![running.clone(), first.clone(), second.clone()],
        ),
        (
            ListenOptions {
                scope: Scope::Running,
                ..ListenOptions::default()
            },
            vec![running.clone()],
        ),
        (by_name(&first), vec![first.clone()]),
        (by_name(&running), vec![running.clone()]),
        (by_name(&"other".to_owned()), none),
        (
            ListenOptions {
                limit: Some(1),
                ..ListenOptions::default()
            },
            vec![running.clone(), second.clone()],
        ),
        (
            ListenOptions {
                filters: vec!["status==completed".into()],
                ..ListenOptions::default()
            },
            vec![running.clone(), first.clone()],
        ),
    ];
    for (options, expected) in cases {
        let events = listed(&bench.engine, options.clone()).await;
        let names: Vec<_> = events
            .iter()
            .map(|event| told(event).1.to_owned())
            .collect();
        assert_eq!(names, expected, "{options:?}");
    }
    key.open();
    build.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_cannot_be_changed() {
    let bench = Bench::new();
    let history = bench.engine.history();
    let is_missing = |error| matches!(error, HistoryError::NotFound { build } if build == "x");
    assert!(is_missing(history.set_pinned("x", true).await.unwrap_err()));
    assert!(is_missing(history.delete("x").await.unwrap_err()));
    history.finalize("x").await;

    let (request, mut key) = gated(bench.request(GOOD));
    let name = request.id.clone();
    let engine = bench.engine.clone();
    let build = tokio::spawn(async move { engine.build(request).await });
    key.reached().await;
    for error in [
        history.set_pinned(&name, true).await.unwrap_err(),
        history.delete(&name).await.unwrap_err(),
    ] {
        assert!(matches!(error, HistoryError::Running { .. }), "{error}");
    }
    key.open();
    build.await.unwrap().unwrap();
    history.delete(&name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_use_does_not_disturb_the_first_build() {
    let bench = Bench::new();
    let (request, mut key) = gated(bench.request(GOOD));
    let name = request.id.clone();
    let engine = bench.engine.clone();
    let build = tokio::spawn(async move { engine.build(request).await });
    key.reached().await;
    let mut second = bench.request(GOOD);
    second.id = name.clone();
    bench.engine.build(second).await.unwrap_err();
    key.open();
    build.await.unwrap().unwrap();
    assert_eq!(bench.record(&name).await.error, None);
    // Once it is over, the name may be used again.
    let mut third = bench.request(BAD);
    third.id = name.clone();
    bench.engine.build(third).await.unwrap_err();
    assert!(bench.record(&name).await.error.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_lets_listeners_go_after_the_last_build() {
    let bench = Bench::new();
    let history = bench.engine.history();
    let (request, mut key) = gated(bench.request(GOOD));
    let name = request.id.clone();
    let engine = bench.engine.clone();
    let build = tokio::spawn(async move { engine.build(request).await });
    key.reached().await;
    let mut listener = history.listen(ListenOptions::default()).unwrap();
    assert_eq!(next(&mut listener).await, (Started, name.clone()));
    history.close().await;
    key.open();
    build.await.unwrap().unwrap();
    assert_eq!(next(&mut listener).await, (Complete, name));
    assert!(listener.next().await.is_none());
}
