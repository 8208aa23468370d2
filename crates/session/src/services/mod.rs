//! The client's side of a session: what it lends, as the services that a daemon calls.

mod agent;
mod auth;
mod content;
mod exporters;
mod file_send;
mod health;
mod policy;
mod secrets;
mod seeds;
mod ssh;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use kiln_protocol::content::content_server::{self, ContentServer};
use kiln_protocol::exporter::exporter_server::{self, ExporterServer};
use kiln_protocol::filesync::auth_server::{self, AuthServer};
use kiln_protocol::filesync::file_send_server;
use kiln_protocol::filesync::file_sync_server::{self, FileSyncServer};
use kiln_protocol::health::health_server::{self, HealthServer};
use kiln_protocol::policysession::policy_verifier_server::{self, PolicyVerifierServer};
use kiln_protocol::secrets::secrets_server::{self, SecretsServer};
use kiln_protocol::sshforward::ssh_server::{self, SshServer};
use kiln_protocol::upload::upload_server::{self, UploadServer};
use tonic::service::Routes;
use tonic::transport::Channel;

use crate::transfer::LentDirectories;
use crate::tunnel::{self, MESSAGE_LIMIT};
use crate::{
    Credentials, ImageReceiver, JudgeSources, PickExporters, Secrets, SessionError, SessionHeaders,
    Ssh,
};

/// What a client lends to a build on a daemon. What is empty is not offered at all.
#[derive(Default)]
pub struct Services {
    /// Directories that the build may read, by name.
    pub directories: BTreeMap<String, PathBuf>,
    /// OCI layout directories that the build may use, by the id the daemon has for them:
    /// `oci:NAME` for a lent layout, which is only read, `local:PATH` for a cache, and for
    /// outputs [`crate::content::export_store`].
    pub stores: BTreeMap<String, PathBuf>,
    /// Registry logins.
    pub credentials: Option<Arc<dyn Credentials>>,
    /// Where the random numbers are kept that prove that sessions share a login. Without it,
    /// the daemon is given the logins themselves.
    pub token_seeds: Option<PathBuf>,
    /// Secrets.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// SSH agents.
    pub ssh: Option<Arc<dyn Ssh>>,
    /// What is done with the outputs of the build, by the number of their exporter.
    pub exports: BTreeMap<usize, Delivery>,
    /// Picks further exporters once the result is there, where the build asks for that.
    pub exporters: Option<Arc<dyn PickExporters>>,
    /// Decides about the sources of the build.
    pub policy: Option<Arc<dyn JudgeSources>>,
    /// Bodies for URLs `http://buildkit-session/ID`, by id; each can be had once.
    pub uploads: BTreeMap<String, Box<dyn Read + Send>>,
}

/// Where one output of a build is put.
pub enum Delivery {
    /// One stream of bytes.
    Stream(Box<dyn Write + Send>),
    /// Files in a directory, beside those that are there.
    Directory(PathBuf),
    /// Files in a directory that has nothing else in the end (`mode=delete`).
    Mirror(PathBuf),
    /// An archive, for somebody who may have parts of it already.
    Receiver(Arc<dyn ImageReceiver>),
}

impl Services {
    /// Opens a session on a daemon and serves it until the daemon or the connection ends it,
    /// or the future is dropped. `headers` say whose it is; their methods are filled in.
    pub async fn serve(
        self,
        daemon: Channel,
        mut headers: SessionHeaders,
    ) -> Result<(), SessionError> {
        let (routes, methods) = self.into_routes();
        headers.methods = methods;
        tunnel::serve(daemon, &headers, routes).await
    }

    /// The services that have something to offer, and their methods.
    fn into_routes(self) -> (Routes, BTreeSet<String>) {
        let mut routes = Routes::default();
        let mut methods = Vec::new();
        let mut offer = |service: &'static str, names: &[&str]| {
            methods.extend(names.iter().map(|name| format!("/{service}/{name}")));
        };
        offer(health_server::SERVICE_NAME, &["Check", "List", "Watch"]);
        routes = routes.add_service(HealthServer::new(health::Alive));
        if let Some(credentials) = self.credentials {
            offer(
                auth_server::SERVICE_NAME,
                &[
                    "Credentials",
                    "FetchToken",
                    "GetTokenAuthority",
                    "VerifyTokenAuthority",
                ],
            );
            let auth = auth::Auth::new(credentials, self.token_seeds);
            routes = routes.add_service(AuthServer::new(auth));
        }
        if let Some(secrets) = self.secrets {
            offer(secrets_server::SERVICE_NAME, &["GetSecret"]);
            routes = routes.add_service(SecretsServer::new(secrets::Lent(secrets)));
        }
        if let Some(ssh) = self.ssh {
            offer(ssh_server::SERVICE_NAME, &["CheckAgent", "ForwardAgent"]);
            let ssh = SshServer::new(ssh::Agents(ssh));
            routes = routes.add_service(ssh.max_decoding_message_size(MESSAGE_LIMIT));
        }
        if !self.directories.is_empty() {
            offer(file_sync_server::SERVICE_NAME, &["DiffCopy", "TarStream"]);
            let files = FileSyncServer::new(LentDirectories::new(self.directories));
            routes = routes.add_service(files.max_decoding_message_size(MESSAGE_LIMIT));
        }
        let receivers = content::receivers(&self.exports);
        if !self.exports.is_empty() {
            offer(file_send_server::SERVICE_NAME, &["DiffCopy"]);
            routes = routes.add_service(file_send::Deliveries::new(self.exports));
        }
        if !self.stores.is_empty() || !receivers.is_empty() {
            offer(
                content_server::SERVICE_NAME,
                &[
                    "Info",
                    "Update",
                    "List",
                    "Delete",
                    "Read",
                    "Status",
                    "ListStatuses",
                    "Write",
                    "Abort",
                ],
            );
            let stores = ContentServer::new(content::Stores::new(self.stores, receivers));
            routes = routes.add_service(stores.max_decoding_message_size(MESSAGE_LIMIT));
        }
        if let Some(exporters) = self.exporters {
            offer(
                exporter_server::SERVICE_NAME,
                &["FindExporters", "FinalizeExport"],
            );
            let exporters = ExporterServer::new(exporters::Picker(exporters));
            routes = routes.add_service(exporters.max_decoding_message_size(MESSAGE_LIMIT));
        }
        if let Some(policy) = self.policy {
            offer(policy_verifier_server::SERVICE_NAME, &["CheckPolicy"]);
            let policy = PolicyVerifierServer::new(policy::Judge(policy));
            routes = routes.add_service(policy.max_decoding_message_size(MESSAGE_LIMIT));
        }
        if !self.uploads.is_empty() {
            offer(upload_server::SERVICE_NAME, &["Pull"]);
            routes = routes.add_service(UploadServer::new(upload::Bodies::new(self.uploads)));
        }
        (routes, methods.into_iter().collect())
    }
}
