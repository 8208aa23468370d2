//! An engine that takes images.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use kiln_session::{ImageReceiver, LayerNames, SessionError};
use oci_spec::image::Digest;
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::connection::Connector;
use crate::content::Content;
use crate::load::Load;
use crate::{Address, DockerError, images};

/// Where an engine keeps its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageStore {
    /// In Docker's own graph drivers.
    Graph,
    /// In containerd.
    Containerd,
}

/// An engine that answers.
#[derive(Debug)]
pub struct Engine {
    connector: Connector,
    store: ImageStore,
    /// The chains that an engine with graph drivers has, asked for when they are needed.
    chains: OnceCell<HashSet<Digest>>,
    /// The content of an engine with containerd; `None` if it does not tell.
    content: OnceCell<Option<Content>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    driver: String,
    #[serde(default)]
    driver_status: Option<Vec<(String, String)>>,
}

impl Engine {
    /// Asks an engine how it keeps images.
    pub async fn connect(address: &Address) -> Result<Self, DockerError> {
        let connector = Connector::new(address);
        let info: Info = connector.get("describe itself", "/info").await?;
        tracing::debug!(socket = %address.path().display(), driver = info.driver, "found a Docker engine");
        let mut status = info.driver_status.iter().flatten();
        let is_containerd =
            status.any(|(key, value)| key == "driver-type" && value.starts_with("io.containerd."));
        Ok(Self {
            connector,
            store: match is_containerd {
                true => ImageStore::Containerd,
                false => ImageStore::Graph,
            },
            chains: OnceCell::new(),
            content: OnceCell::new(),
        })
    }

    /// Where it keeps its images.
    pub fn store(&self) -> ImageStore {
        self.store
    }

    /// The socket at which it listens.
    pub fn socket(&self) -> &Path {
        self.connector.socket()
    }

    async fn has_chain(&self, chain: &Digest) -> Result<bool, DockerError> {
        let chains = self
            .chains
            .get_or_try_init(|| images::chains(&self.connector));
        Ok(chains.await?.contains(chain))
    }

    /// An engine that does not tell is one that has nothing.
    async fn has_blob(&self, digest: &Digest) -> Result<bool, DockerError> {
        let content = self.content.get_or_init(|| async {
            let content = Content::connect(&self.connector).await;
            content
                .inspect_err(
                    |error| tracing::debug!(%error, "the engine's content cannot be asked"),
                )
                .ok()
        });
        match content.await {
            Some(content) => content.has(digest).await,
            None => Ok(false),
        }
    }
}

#[async_trait::async_trait]
impl ImageReceiver for Engine {
    fn layer_names(&self) -> LayerNames {
        match self.store {
            ImageStore::Graph => LayerNames::Chains,
            ImageStore::Containerd => LayerNames::Blobs,
        }
    }

    async fn has_layer(&self, name: &Digest) -> Result<bool, SessionError> {
        let answer = match self.store {
            ImageStore::Graph => self.has_chain(name).await,
            ImageStore::Containerd => self.has_blob(name).await,
        };
        answer.map_err(|error| SessionError::Provider {
            what: format!("layer {name}"),
            message: error.to_string(),
        })
    }

    fn receive(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(Box::new(Load::begin(&self.connector)))
    }
}
