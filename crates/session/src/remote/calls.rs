//! How a client is asked for something: never longer than it lives.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::{SessionError, SessionHeaders};

/// The way to one client's services.
#[derive(Clone, Debug)]
pub(crate) struct Calls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    headers: SessionHeaders,
    channel: Channel,
    closed: CancellationToken,
}

impl Calls {
    pub(super) fn new(
        headers: SessionHeaders,
        channel: Channel,
        closed: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            headers,
            channel,
            closed,
        }))
    }

    pub(crate) fn headers(&self) -> &SessionHeaders {
        &self.0.headers
    }

    pub(crate) fn channel(&self) -> Channel {
        self.0.channel.clone()
    }

    pub(super) async fn closed(&self) {
        self.0.closed.cancelled().await;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    pub(super) fn close(&self) {
        self.0.closed.cancel();
    }

    /// Whether the client announced a method.
    pub(crate) fn serves(&self, method: &str) -> bool {
        self.0.headers.serves(method)
    }

    /// Fails unless the client announced a method.
    pub(crate) fn require(&self, method: &'static str) -> Result<(), SessionError> {
        match self.serves(method) {
            true => Ok(()),
            false => Err(SessionError::NotServed { method }),
        }
    }

    /// Asks the client; `what` names the question in errors. A client that leaves
    /// ends the wait.
    pub(crate) async fn ask<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, SessionError> {
        tokio::select! {
            // An answer that has arrived counts, even if the client left then.
            biased;
            answer = call => answer.map_err(|status| self.refused(what, &status)),
            () = self.closed() => Err(self.gone(what)),
        }
    }

    /// As [`Calls::ask`], with a limit of time.
    pub(crate) async fn ask_within<T>(
        &self,
        limit: Duration,
        what: &str,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, SessionError> {
        let answer = tokio::time::timeout(limit, self.ask(what, call)).await;
        answer.unwrap_or_else(|_| {
            Err(SessionError::TimedOut {
                what: what.to_owned(),
                limit,
            })
        })
    }

    /// The error of a call that the client did not answer well.
    pub(crate) fn refused(&self, what: &str, status: &Status) -> SessionError {
        if self.is_closed() {
            return self.gone(what);
        }
        SessionError::Refused {
            what: what.to_owned(),
            code: status.code(),
            message: status.message().to_owned(),
        }
    }

    /// The error of a call whose client has left.
    pub(crate) fn gone(&self, what: &str) -> SessionError {
        SessionError::Gone {
            id: self.headers().id.to_string(),
            what: what.to_owned(),
        }
    }
}
