//! Clients that leave or fall silent while they are asked for something.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use kiln_protocol::health;
use kiln_protocol::health::health_server::{Health, HealthServer};
use kiln_session::{
    Credential, Credentials, Delivery, Secrets, Services, SessionError, Ssh, SshSocket,
};
use tokio::sync::Notify;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::pair::Pair;

/// Takes every question and answers none.
#[derive(Clone, Default)]
struct Silent(Arc<Notify>);

impl Silent {
    async fn forever(&self) -> ! {
        self.0.notify_one();
        std::future::pending::<()>().await;
        unreachable!("pending")
    }
}

#[async_trait::async_trait]
impl Secrets for Silent {
    async fn secret(&self, _: &str) -> Result<Option<Bytes>, SessionError> {
        self.forever().await
    }
}

#[async_trait::async_trait]
impl Credentials for Silent {
    async fn credential(&self, _: &str) -> Result<Credential, SessionError> {
        self.forever().await
    }
}

#[async_trait::async_trait]
impl Ssh for Silent {
    async fn agent(&self, _: &str) -> Result<Option<Box<dyn SshSocket>>, SessionError> {
        self.forever().await
    }
}

/// An output that blocks until the test ends.
struct Stuck(Arc<Notify>, std::sync::mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        self.0.notify_one();
        // Ends with an error when the test drops the other end.
        self.1.recv().map(|()| 0).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn silent_services(silent: &Silent) -> Services {
    Services {
        credentials: Some(Arc::new(silent.clone())),
        secrets: Some(Arc::new(silent.clone())),
        ssh: Some(Arc::new(silent.clone())),
        ..Services::default()
    }
}

#[derive(Clone, Copy, Debug)]
enum Question {
    Secret,
    Credential,
    Agent,
}

async fn ask(pair: &Pair, question: Question) -> Result<(), SessionError> {
    let session = pair.remote.session();
    match question {
        Question::Secret => session.secrets.secret("x").await.map(drop),
        Question::Credential => session.credentials.credential("x").await.map(drop),
        Question::Agent => session.ssh.agent("x").await.map(drop),
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_waited_for_no_longer() {
    for question in [Question::Secret, Question::Credential, Question::Agent] {
        let silent = Silent::default();
        let folder = tempfile::tempdir().expect("dir");
        let mut pair = Pair::over_socket(folder.path(), silent_services(&silent)).await;
        let client = std::mem::replace(
            &mut pair.client,
            tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async { Ok(()) })),
        );
        let leave = async {
            silent.0.notified().await;
            drop(client);
        };
        let (answer, ()) = tokio::join!(ask(&pair, question), leave);
        let error = answer.expect_err("gone");
        assert!(
            matches!(error, SessionError::Gone { .. }),
            "{question:?}: {error:?}"
        );
        assert!(pair.remote.is_closed());
        let again = ask(&pair, question).await.expect_err("still gone");
        assert!(
            matches!(again, SessionError::Gone { .. }),
            "{question:?}: {again:?}"
        );
    }
}

#[tokio::test]
async fn an_output_ends_when_its_client_leaves() {
    let begun = Arc::new(Notify::new());
    let (hold, held) = std::sync::mpsc::channel();
    let stuck = Delivery::Stream(Box::new(Stuck(Arc::clone(&begun), held)));
    let pair = Pair::new(Services {
        exports: BTreeMap::from([(0, stuck)]),
        ..Services::default()
    })
    .await;
    let mut stream = pair
        .remote
        .stream_target(0, &BTreeMap::new())
        .expect("stream");
    let writing = tokio::task::spawn_blocking(move || {
        // More than fits on the way.
        let piece = vec![0; 1 << 20];
        loop {
            if let Err(error) = stream.write_all(&piece) {
                return error;
            }
        }
    });
    begun.notified().await;
    drop(pair.client);
    let error = writing.await.expect("thread").to_string();
    assert!(error.contains("has ended, the client is gone"), "{error}");
    drop(hold);
}

/// Health that falls silent.
struct Comatose;

#[tonic::async_trait]
impl Health for Comatose {
    type WatchStream = futures::stream::Pending<Result<health::HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: Request<health::HealthCheckRequest>,
    ) -> Result<Response<health::HealthCheckResponse>, Status> {
        std::future::pending().await
    }

    async fn list(
        &self,
        _: Request<health::HealthListRequest>,
    ) -> Result<Response<health::HealthListResponse>, Status> {
        Err(Status::unimplemented("no"))
    }

    async fn watch(
        &self,
        _: Request<health::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("no"))
    }
}

// The clock is the runtime's own: it jumps ahead while nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_is_given_up() {
    let routes = Routes::new(HealthServer::new(Comatose));
    let pair = Pair::with_routes(routes, &[]).await;
    let begun = tokio::time::Instant::now();
    pair.remote.closed().await;
    let waited = begun.elapsed().as_secs();
    assert!((20..=60).contains(&waited), "given up after {waited} s");
}

#[tokio::test(start_paused = true)]
async fn a_client_without_health_service_is_alive() {
    let pair = Pair::with_routes(Routes::default(), &[]).await;
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    assert!(!pair.remote.is_closed());
}
