//! Calls of the control service beside builds.

use std::time::Duration;

use futures::TryStreamExt as _;
use kiln_client::{HistoryChange, HistoryRequest, PruneRequest, SolveRequest};
use kiln_protocol::control::{BuildHistoryEvent, UsageRecord};
use kiln_session::Services;

use crate::server::{Daemon, Script};

fn record(id: &str, size: i64) -> UsageRecord {
    UsageRecord {
        id: id.into(),
        size,
        ..UsageRecord::default()
    }
}

#[tokio::test]
async fn usage_is_sorted_by_size() {
    let daemon = Daemon::start(Script {
        records: vec![record("b", 2), record("c", 1), record("a", 2)],
        ..Script::default()
    });
    let records = daemon.client().await.disk_usage(&[]).await.unwrap();
    let ids = records.iter().map(|record| record.id.as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["c", "a", "b"]);
    assert_eq!(records[0].created, None);
}

#[tokio::test]
async fn pruning_tells_every_record() {
    let daemon = Daemon::start(Script {
        records: vec![record("a", 1), record("b", 2)],
        ..Script::default()
    });
    let request = PruneRequest {
        keep_duration: Duration::from_secs(48 * 3600),
        max_used_space: 5,
        all: true,
        ..PruneRequest::default()
    };
    let removed = daemon.client().await.prune(request).await.unwrap();
    let removed = removed.try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(removed.len(), 2);
    let asked = daemon.script.pruned.lock().unwrap();
    assert_eq!(asked[0].keep_duration, 172_800_000_000_000);
    assert_eq!((asked[0].max_used_space, asked[0].all), (5, true));
}

#[tokio::test]
async fn workers_and_version() {
    let daemon = Daemon::start(Script::default());
    let client = daemon.client().await;
    let workers = client.workers(&["id==a".into(), "b".into()]).await.unwrap();
    assert_eq!(workers[0].id, "id==a+b");
    assert_eq!(client.info().await.unwrap().version, "v9");
}

#[tokio::test]
async fn histories_are_listed_and_changed() {
    let daemon = Daemon::start(Script {
        events: vec![BuildHistoryEvent::default(); 3],
        ..Script::default()
    });
    let client = daemon.client().await;
    let events = client.histories(HistoryRequest::default()).await.unwrap();
    assert_eq!(events.try_collect::<Vec<_>>().await.unwrap().len(), 3);
    for change in [
        HistoryChange::Pin,
        HistoryChange::Unpin,
        HistoryChange::Delete,
        HistoryChange::Finalize,
    ] {
        client.update_history("ref", change).await.unwrap();
    }
    let updated = daemon.script.updated.lock().unwrap();
    let flags = updated.iter().map(|it| (it.pinned, it.delete, it.finalize));
    assert_eq!(
        flags.collect::<Vec<_>>(),
        [
            (true, false, false),
            (false, false, false),
            (false, true, false),
            (false, false, true)
        ]
    );
}

#[tokio::test]
async fn daemons_without_plans_are_not_made_to_build() {
    let daemon = Daemon::start(Script::default());
    let client = daemon.client().await;
    let refused = client.plan(SolveRequest::default(), Services::default());
    let error = refused.await.unwrap_err().to_string();
    assert!(
        error.contains("this daemon makes no plans (--dry-run)"),
        "{error}"
    );
    assert!(daemon.script.solved.lock().unwrap().is_empty());
}
