//! The daemon's side of a session: a connected client's services as the traits that
//! builds ask.

mod calls;
mod content;
mod credentials;
mod directories;
mod exporters;
mod file_send;
mod files;
mod health;
mod policy;
mod receiver;
mod secrets;
mod ssh;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use kiln_protocol::control::BytesMessage;
use tonic::Status;

pub use exporters::RemoteExporters;
pub use file_send::ExportStream;

pub(crate) use calls::Calls;
pub(crate) use content::STORE;
pub(crate) use credentials::reference_host;
pub(crate) use file_send::EXPORTER;
pub(crate) use secrets::check_size;
pub(crate) use ssh::{AGENT_ID, DEFAULT_ID};
pub(crate) use upload::PATH as UPLOAD_PATH;

use crate::transfer::RemoteTarget;
use crate::tunnel::{self, Accepted, OutboundStream};
use crate::{
    ImageReceiver, JudgeSources, LayerNames, RemoteContent, Session, SessionError, SessionHeaders,
};

/// A connected client. Cheap to clone; it lives until the client leaves, does not
/// answer any more, or [`RemoteSession::close`] is called.
#[derive(Clone, Debug)]
pub struct RemoteSession {
    calls: Calls,
}

impl RemoteSession {
    /// Answers a `Session` call: what to return from it, and what becomes the session
    /// once that has been returned.
    pub fn accept(
        headers: SessionHeaders,
        inbound: impl Stream<Item = Result<BytesMessage, Status>> + Send + 'static,
    ) -> (PendingSession, OutboundStream) {
        let (accepted, outbound) = tunnel::accept(inbound);
        (PendingSession { headers, accepted }, outbound)
    }

    /// What the client said when it opened the session.
    pub fn headers(&self) -> &SessionHeaders {
        self.calls.headers()
    }

    /// Ends when the session has ended.
    pub async fn closed(&self) {
        self.calls.closed().await;
    }

    /// Whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.calls.is_closed()
    }

    /// Ends the session: what is being asked of the client fails.
    pub fn close(&self) {
        self.calls.close();
    }

    /// What the client lends to builds.
    pub fn session(&self) -> Session {
        Session {
            id: self.headers().id.clone(),
            files: Arc::new(files::RemoteFiles(self.calls.clone())),
            credentials: Arc::new(credentials::RemoteCredentials(self.calls.clone())),
            secrets: Arc::new(secrets::RemoteSecrets(self.calls.clone())),
            ssh: Arc::new(ssh::RemoteSsh(self.calls.clone())),
        }
    }

    /// Where the output of the build's exporter number `exporter` is written to, if that is
    /// one stream (`tar`, `oci`, `docker`). `about` goes along with it, such as the
    /// exporter's response.
    pub fn stream_target(
        &self,
        exporter: usize,
        about: &BTreeMap<String, String>,
    ) -> Result<ExportStream, SessionError> {
        ExportStream::open(&self.calls, exporter, about)
    }

    /// One of the client's stores: `oci:NAME` for a layout that it lends, `local:PATH` for a
    /// cache, `export` for an output in form of a layout.
    pub fn content(&self, store: &str) -> Result<Arc<dyn RemoteContent>, SessionError> {
        let store = content::Store::new(self.calls.clone(), store)?;
        Ok(Arc::new(store))
    }

    /// Who takes the output of the build's exporter number `exporter` on the client's side, if that is an archive of
    /// which the client has parts already. `names` is what the client said in [`crate::RECEIVER`].
    pub fn receiver(
        &self,
        exporter: usize,
        names: LayerNames,
    ) -> Result<Arc<dyn ImageReceiver>, SessionError> {
        Ok(Arc::new(receiver::Receiver::new(
            &self.calls,
            exporter,
            names,
        )?))
    }

    /// The client's directory that takes the output of the build's exporter number `exporter`
    /// (`local`).
    pub fn directory_target(&self, exporter: usize) -> Result<Arc<dyn RemoteTarget>, SessionError> {
        Ok(Arc::new(directories::Target::new(&self.calls, exporter)?))
    }

    /// The body that the client has for the URL `http://HOST/PATH`, such as a context that
    /// it reads from its standard input.
    pub async fn upload(
        &self,
        host: &str,
        path: &str,
    ) -> Result<
        impl Stream<Item = Result<Bytes, SessionError>> + Send + 'static + use<>,
        SessionError,
    > {
        upload::pull(&self.calls, host, path).await
    }

    /// The client's policy about sources; fails if it has none.
    pub fn policy(&self) -> Result<Arc<dyn JudgeSources>, SessionError> {
        Ok(Arc::new(policy::RemotePolicy::new(self.calls.clone())?))
    }

    /// The client's choice of exporters for a finished result.
    pub fn exporters(&self) -> RemoteExporters {
        RemoteExporters::new(self.calls.clone())
    }
}

/// A session whose connection is still to be made.
pub struct PendingSession {
    headers: SessionHeaders,
    accepted: Accepted,
}

impl PendingSession {
    /// Connects to the client's services and begins to watch its health.
    pub async fn connect(self) -> Result<RemoteSession, SessionError> {
        let (channel, closed) = self.accepted.connect().await?;
        let calls = Calls::new(self.headers, channel, closed);
        tokio::spawn(health::watch(calls.clone()));
        Ok(RemoteSession { calls })
    }
}
