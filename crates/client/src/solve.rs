//! Builds: a Solve call, the session that it uses and its news, side by side
//! on one connection.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kiln_protocol::control;
use kiln_session::progress::{ProgressSink, Update};
use kiln_session::{Services, SessionHeaders, SessionId};
use tokio::sync::oneshot;

use crate::request::{LentSession, SolveOutcome, SolveRequest};
use crate::{Client, ClientError, layouts};

/// How long news may be silent after the build's end before they are taken
/// to be over.
const SILENCE: Duration = Duration::from_secs(5);

/// How long news may take to begin after the end of a build that failed: one
/// that was refused has none.
const LATE: Duration = Duration::from_millis(500);

/// What a failed build is said to have failed at.
pub(crate) const WHAT: &str = "failed to solve";

impl Client {
    /// Builds. `services` are what the build may use of this side; `progress`
    /// gets the news. Dropping the future stops the build.
    pub async fn solve(
        &self,
        mut request: SolveRequest,
        mut services: Services,
        progress: ProgressSink,
    ) -> Result<SolveOutcome, ClientError> {
        let session = SessionId::random();
        if request.reference.is_empty() {
            request.reference = SessionId::random().as_str().to_owned();
        }
        let lent = LentSession::new(&session, &services);
        let layouts = layouts::prepare(&mut request, &mut services).await?;
        let (ended, end) = oneshot::channel();
        let building = async {
            let outcome = self.run(&request, lent).await;
            let _ = ended.send(outcome.is_ok());
            outcome
        };
        let following = self.follow(&request.reference, progress, end);
        let both = async { tokio::join!(building, following).0 };
        let key = &request.shared_key;
        let outcome = self.lending(services, (&session, key), both).await?;
        layouts.finish(&outcome.response).await?;
        Ok(outcome)
    }

    /// Does work during which the daemon may use these services.
    pub(crate) async fn lending<T>(
        &self,
        services: Services,
        (session, shared_key): (&SessionId, &str),
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let headers = SessionHeaders {
            shared_key: shared_key.to_owned(),
            ..SessionHeaders::new(session.clone())
        };
        let mut serving = pin!(services.serve(self.channel(), headers));
        let mut work = pin!(work);
        tokio::select! {
            outcome = &mut work => outcome,
            served = &mut serving => {
                served?;
                // The daemon may close the session before it answers.
                work.await
            }
        }
    }

    async fn run(
        &self,
        request: &SolveRequest,
        session: LentSession<'_>,
    ) -> Result<SolveOutcome, ClientError> {
        if request.is_question() {
            return self.ask(request, session).await;
        }
        let response = self.call_solve(request.to_wire(session)).await?;
        Ok(SolveOutcome {
            response: response.exporter_response,
            ..SolveOutcome::default()
        })
    }

    pub(crate) async fn call_solve(
        &self,
        request: control::SolveRequest,
    ) -> Result<control::SolveResponse, ClientError> {
        let answer = self.control().solve(request).await;
        let answer = answer.map_err(|status| self.failed(WHAT, status))?;
        Ok(answer.into_inner())
    }

    /// Passes on news until they end. Without news a build is still a build,
    /// so trouble here only gets logged.
    async fn follow(&self, reference: &str, progress: ProgressSink, end: oneshot::Receiver<bool>) {
        let mut end = pin!(end);
        let mut asked = pin!(self.status(reference));
        let updates = tokio::select! {
            updates = &mut asked => updates,
            is_good = &mut end => {
                // A short build may be over before its news begin.
                let patience = if is_good == Ok(true) { SILENCE } else { LATE };
                let Ok(Ok(updates)) = tokio::time::timeout(patience, asked).await else {
                    return;
                };
                return pass_on(pin!(updates), &progress, None::<oneshot::Receiver<bool>>).await;
            }
        };
        match updates {
            Ok(updates) => pass_on(pin!(updates), &progress, Some(end)).await,
            Err(error) => tracing::warn!(%error, "the build's progress cannot be shown"),
        }
    }
}

async fn pass_on(
    mut updates: impl Stream<Item = Result<Update, ClientError>> + Unpin,
    progress: &ProgressSink,
    mut end: Option<impl Future + Unpin>,
) {
    loop {
        let over = async {
            match &mut end {
                Some(end) => _ = end.await,
                None => tokio::time::sleep(SILENCE).await,
            }
        };
        let next = tokio::select! {
            next = updates.next() => next,
            () = over => match end.take() {
                Some(_) => continue,
                None => return,
            },
        };
        match next {
            Some(Ok(update)) => progress.update(update),
            Some(Err(error)) if !error.is_cancelled() => {
                tracing::warn!(%error, "the build's progress ended early");
                return;
            }
            Some(Err(_)) | None => return,
        }
    }
}
