//! What a containerd says of itself, and its namespaces.

use kiln_protocol::containerd_introspection::introspection_client::IntrospectionClient;
use kiln_protocol::containerd_namespaces::namespaces_client::NamespacesClient;
use kiln_protocol::containerd_namespaces::{
    CreateNamespaceRequest, ListNamespacesRequest, Namespace,
};
use kiln_protocol::containerd_version::version_client::VersionClient;

use crate::{Containerd, ContainerdError};

/// What a containerd says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its version, such as `1.7.24`.
    pub version: String,
    /// Tells containerds apart; it stays the same as long as the state does.
    pub uuid: String,
}

impl Containerd {
    /// Asks containerd what it is: the way to find out whether it answers.
    pub async fn server(&self) -> Result<ServerInfo, ContainerdError> {
        let mut client = VersionClient::new(self.channel.clone());
        let version = self.ask("ask for its version", client.version(self.request(())));
        let version = version.await?.version;
        let mut client = IntrospectionClient::new(self.channel.clone());
        let server = self.ask("ask for its id", client.server(self.request(())));
        Ok(ServerInfo {
            version,
            uuid: server.await?.uuid,
        })
    }

    /// The names of all namespaces.
    pub async fn namespaces(&self) -> Result<Vec<String>, ContainerdError> {
        let mut client = NamespacesClient::new(self.channel.clone());
        let request = self.request(ListNamespacesRequest::default());
        let answer = self.ask("list namespaces", client.list(request)).await?;
        let names = answer.namespaces.into_iter().map(|it| it.name);
        Ok(names.collect())
    }

    /// Makes this namespace if it is not there. Whatever is put into one makes it as well.
    pub async fn create_namespace(&self) -> Result<(), ContainerdError> {
        let mut client = NamespacesClient::new(self.channel.clone());
        let namespace = Namespace {
            name: self.namespace().to_owned(),
            ..Namespace::default()
        };
        let request = self.request(CreateNamespaceRequest {
            namespace: Some(namespace),
        });
        let what = format!("create namespace {}", self.namespace());
        match self.ask(&what, client.create(request)).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        }
    }
}
