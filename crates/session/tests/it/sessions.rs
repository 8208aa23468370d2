//! The daemon's table of sessions.

use kiln_session::{Services, SessionError, SessionHeaders, SessionId};

use crate::pair::{Pair, TestDaemon};

#[tokio::test]
async fn a_session_is_there_while_its_client_is() {
    let folder = tempfile::tempdir().expect("dir");
    let pair = Pair::over_socket(folder.path(), Services::default()).await;
    let id = pair.remote.headers().id.to_string();
    assert_eq!(pair.sessions.len(), 1);
    for name in [id.clone(), format!("context:{id}")] {
        let found = pair.sessions.get(&name).await.expect("session");
        assert_eq!(found.headers().id.as_str(), id);
    }
    drop(pair.client);
    pair.remote.closed().await;
    while !pair.sessions.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_waits_a_little_for_its_session() {
    let daemon = TestDaemon::in_memory().await;
    let sessions = daemon.sessions.clone();
    let waiting = tokio::spawn(async move { sessions.get("late").await });
    tokio::task::yield_now().await;
    let headers = SessionHeaders::new(SessionId::new("late"));
    let client = tokio::spawn(Services::default().serve(daemon.channel.clone(), headers));
    let found = waiting.await.expect("task").expect("session");
    assert_eq!(found.headers().id.as_str(), "late");
    let error = daemon.sessions.get("never").await.expect_err("no session");
    assert!(
        matches!(error, SessionError::UnknownSession { .. }),
        "{error}"
    );
    assert!(
        error.to_string().starts_with("no active session for never"),
        "{error}"
    );
    client.abort();
}

#[tokio::test]
async fn an_id_is_used_once() {
    let pair = Pair::new(Services::default()).await;
    let again = SessionHeaders::new(pair.remote.headers().id.clone());
    let served = Services::default()
        .serve(pair.daemon.channel.clone(), again)
        .await;
    let error = served.expect_err("taken").to_string();
    assert!(error.contains("already exists"), "{error}");
    assert!(!pair.remote.is_closed(), "the first one is left alone");
}

#[tokio::test]
async fn the_daemon_can_end_a_session() {
    let pair = Pair::new(Services::default()).await;
    pair.sessions.close_all();
    pair.client.await.expect("task").expect("a clean end");
}
