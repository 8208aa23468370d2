//! What records and logs say, and how long they stay.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiln_engine::history::ListenOptions;
use kiln_engine::{ExportTarget, GcPolicy, HistoryOptions, Recorded};
use kiln_protocol::control::Descriptor;
use kiln_protocol::rpc;
use oci_spec::image::Digest;
use prost::Message as _;

use super::bench::{BAD, Bench, GOOD, Memory, export, finished, gated, listed, replayed, rest};

fn blob(bench: &Bench, descriptor: Option<&Descriptor>) -> Vec<u8> {
    let descriptor = descriptor.expect("the record names a blob");
    let digest = Digest::try_from(descriptor.digest.as_str()).unwrap();
    let bytes = bench.engine.content().read(&digest, 1 << 30).unwrap();
    assert_eq!(bytes.len() as i64, descriptor.size);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_build_has_its_request_and_its_result() {
    let bench = Bench::new();
    let mut request = bench.request(GOOD);
    let name = request.id.clone();
    request.options = [
        ("label:a", "b"),
        ("context:x", "https://me:secret@example.com/x.git"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let local = ExportTarget::Directory(bench.root().join("out"));
    request.exports = vec![
        export("local", &[], local),
        export("image", &[("name", "example.com/a")], ExportTarget::None),
    ];
    let before = SystemTime::now();
    let outcome = bench.engine.build(request).await.unwrap();

    let record = bench.record(&name).await;
    assert_eq!(record.frontend, "dockerfile.v0");
    assert_eq!(record.frontend_attrs["label:a"], "b");
    assert_eq!(
        record.frontend_attrs["context:x"],
        "https://xxxxx:xxxxx@example.com/x.git"
    );
    let kinds: Vec<_> = record
        .exporters
        .iter()
        .map(|it| it.r#type.as_str())
        .collect();
    assert_eq!(kinds, ["local", "image"]);
    assert_eq!(record.exporters[1].attrs["name"], "example.com/a");
    assert_eq!(record.exporter_response, outcome.response);
    assert_eq!((record.error, record.external_error), (None, None));
    assert!(!record.pinned);
    let time = |time: Option<prost_types::Timestamp>| SystemTime::try_from(time.unwrap()).unwrap();
    assert!(before <= time(record.created_at));
    assert!(time(record.created_at) <= time(record.completed_at));

    let result = record.result.unwrap();
    let image = &result.results[&1];
    assert_eq!(image.digest, outcome.response["containerimage.digest"]);
    assert!(!result.results.contains_key(&0), "a directory is no image");
    assert!(!blob(&bench, Some(image)).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_counted() {
    let bench = Bench::new();
    let counts = async |dockerfile: &str| {
        let (name, _) = bench.build(dockerfile).await;
        let record = bench.record(&name).await;
        (
            record.num_total_steps,
            record.num_completed_steps,
            record.num_cached_steps,
            record.num_warnings,
        )
    };
    let (total, completed, cached, warnings) = counts(GOOD).await;
    assert_eq!((completed, cached, warnings), (total, 0, 0));
    assert!(total >= 4, "two sources and two copies: {total}");
    // The sources look at their files again, all else is known.
    let (total_again, completed, cached, _) = counts(GOOD).await;
    assert_eq!((total_again, completed), (total, total));
    assert!(cached >= 2, "{cached}");
    let (_, _, _, warnings) = counts("from scratch\nCOPY f /\n").await;
    assert_eq!(warnings, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_has_its_error() {
    let bench = Bench::new();
    let (name, outcome) = bench.build(BAD).await;
    let message = outcome.unwrap_err().message;
    let record = bench.record(&name).await;
    let error = record.error.unwrap();
    assert_eq!((error.code, &error.message), (2, &message));
    assert_eq!(error.details, []);
    let whole = blob(&bench, record.external_error.as_ref());
    let whole = rpc::Status::decode(whole.as_slice()).unwrap();
    assert!(!whole.details.is_empty(), "typed details are in the blob");
    assert_eq!((whole.code, whole.message), (2, message));
    assert!(record.result.is_none() && record.completed_at.is_some());
    assert!(record.num_completed_steps > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_build_counts_as_cancelled() {
    let bench = Bench::new();
    let (request, mut key) = gated(bench.request(GOOD));
    let name = request.id.clone();
    let engine = bench.engine.clone();
    let build = tokio::spawn(async move { engine.build(request).await });
    key.reached().await;
    let stream = bench.engine.history().status(&name, Duration::ZERO).await;
    build.abort();
    assert!(build.await.unwrap_err().is_cancelled());
    key.open();
    // The stream ends once the record is written.
    rest(stream.unwrap()).await;
    let options = ListenOptions {
        filters: vec!["status==canceled".into()],
        ..ListenOptions::default()
    };
    let mut listener = bench.engine.history().listen(options).unwrap();
    let record = loop {
        let record = listener.next().await.unwrap().unwrap().record.unwrap();
        if record.completed_at.is_some() {
            break record;
        }
    };
    assert_eq!(record.r#ref, name);
    let error = record.error.unwrap();
    assert_eq!(
        (error.code, error.message.as_str()),
        (1, "context canceled")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_what_the_client_was_told() {
    let bench = Bench::new();
    for dockerfile in [GOOD, GOOD, BAD, "from scratch\nCOPY f /\n"] {
        let memory = Arc::new(Memory::default());
        let mut request = bench.request(dockerfile);
        request.progress = memory.clone();
        let name = request.id.clone();
        let _ = bench.engine.build(request).await;
        let mut told = memory.all();
        let mut replay = replayed(&bench.engine, &name).await;
        // Threads that report at the same moment may do so in either order.
        for all in [&mut told, &mut replay] {
            all.vertexes.sort_by_cached_key(|it| format!("{it:?}"));
            all.statuses.sort_by_cached_key(|it| format!("{it:?}"));
        }
        assert!(!told.vertexes.is_empty());
        assert_eq!(replay, told, "{dockerfile}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_build_is_followed_from_its_beginning() {
    let bench = Bench::new();
    let (mut request, mut key) = gated(bench.request(GOOD));
    let memory = Arc::new(Memory::default());
    request.progress = memory.clone();
    let name = request.id.clone();
    let history = bench.engine.history().clone();
    // The first reader comes before the build.
    let early = tokio::spawn(async move {
        let stream = history.status(&name, Duration::from_secs(60)).await;
        rest(stream.unwrap()).await
    });
    let name = request.id.clone();
    let engine = bench.engine.clone();
    let build = tokio::spawn(async move { engine.build(request).await });
    key.reached().await;
    let mut late = bench
        .engine
        .history()
        .status(&name, Duration::ZERO)
        .await
        .unwrap();
    let first = late.next().await.unwrap().unwrap();
    key.open();
    build.await.unwrap().unwrap();
    let mut all = first;
    super::bench::join(&mut all, rest(late).await);
    assert_eq!(all, replayed(&bench.engine, &name).await);
    assert_eq!(all, early.await.unwrap());
    assert_eq!(all.vertexes.len(), memory.all().vertexes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn unlisted_builds_can_be_followed_and_are_forgotten() {
    let bench = Bench::new();
    let (mut request, mut key) = gated(bench.request(GOOD));
    request.recorded = Recorded::Unlisted;
    let name = request.id.clone();
    let engine = bench.engine.clone();
    let build = tokio::spawn(async move { engine.build(request).await });
    key.reached().await;
    let stream = bench
        .engine
        .history()
        .status(&name, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(listed(&bench.engine, ListenOptions::default()).await, []);
    key.open();
    build.await.unwrap().unwrap();
    assert!(!rest(stream).await.vertexes.is_empty());
    assert_eq!(listed(&bench.engine, ListenOptions::default()).await, []);
    // For a moment, who comes late still finds it.
    let late = bench.engine.history().status(&name, Duration::ZERO).await;
    assert!(!rest(late.unwrap()).await.vertexes.is_empty());
    let spools = std::fs::read_dir(bench.root().join("history")).unwrap();
    assert_eq!(spools.count(), 0, "no log is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_becomes_too_long_keeps_its_steps() {
    let bench = Bench::with(HistoryOptions {
        max_log: 0,
        ..HistoryOptions::default()
    });
    let memory = Arc::new(Memory::default());
    let mut request = bench.request(GOOD);
    request.progress = memory.clone();
    let name = request.id.clone();
    bench.engine.build(request).await.unwrap();
    let replay = replayed(&bench.engine, &name).await;
    assert!(!memory.all().statuses.is_empty());
    assert_eq!((replay.statuses.len(), replay.logs.len()), (0, 0));
    assert_eq!(replay.vertexes.len(), memory.all().vertexes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_go_when_they_are_both_old_and_many() {
    const HOUR: Duration = Duration::from_secs(3600);
    let bench = Bench::with(HistoryOptions {
        max_age: 48 * HOUR,
        max_entries: 2,
        ..HistoryOptions::default()
    });
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(bench.build(GOOD).await.0);
    }
    let history = bench.engine.history();
    history.set_pinned(&names[0], true).await.unwrap();
    let left = async || finished(&bench.engine, ListenOptions::default()).await;
    let now = SystemTime::now();
    // Many, but young.
    assert_eq!(history.remove_expired(now).await.unwrap(), 0);
    assert_eq!(history.remove_expired(now + 47 * HOUR).await.unwrap(), 0);
    assert_eq!(left().await, names);
    // Old: the two newest stay, and what is pinned.
    assert_eq!(history.remove_expired(now + 49 * HOUR).await.unwrap(), 1);
    assert_eq!(
        left().await,
        [&names[0], &names[2], &names[3]].map(String::clone)
    );
    // A record that is no longer pinned counts again.
    history.set_pinned(&names[0], false).await.unwrap();
    assert_eq!(history.remove_expired(now + 49 * HOUR).await.unwrap(), 1);
    assert_eq!(left().await, names[2..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_stay_as_long_as_their_record() {
    let bench = Bench::new();
    let mut request = bench.request(GOOD);
    let name = request.id.clone();
    let image = export("image", &[("store", "false")], ExportTarget::None);
    request.exports = vec![image];
    bench.engine.build(request).await.unwrap();
    let everything = GcPolicy {
        all: true,
        ..GcPolicy::default()
    };
    bench.engine.prune(everything.clone()).await.unwrap();
    let record = bench.record(&name).await;
    let manifest = record.result.unwrap().results[&0].clone();
    for kept in [record.logs.as_ref(), record.trace.as_ref(), Some(&manifest)] {
        blob(&bench, kept);
    }
    assert!(!replayed(&bench.engine, &name).await.vertexes.is_empty());

    bench.engine.history().delete(&name).await.unwrap();
    bench.engine.prune(everything).await.unwrap();
    for gone in [record.logs.unwrap(), record.trace.unwrap(), manifest] {
        let digest = Digest::try_from(gone.digest.as_str()).unwrap();
        assert!(!bench.engine.content().exists(&digest).unwrap(), "{digest}");
    }
}
