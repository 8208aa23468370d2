//! One namespace of one containerd.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::{ContainerdError, Content, Images, Lease, Snapshotter};

/// Where containerd listens unless it is told otherwise.
pub const DEFAULT_ADDRESS: &str = "/run/containerd/containerd.sock";
/// The namespace that BuildKit uses.
pub const DEFAULT_NAMESPACE: &str = "buildkit";
/// The snapshotter that containerd itself uses.
pub const DEFAULT_SNAPSHOTTER: &str = "overlayfs";

/// Bytes under way in one call: blobs are read in such streams.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes under way in all calls together.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// The longest message that is taken.
pub(crate) const MESSAGE_LIMIT: usize = 16 << 20;
/// The longest name that containerd takes for a namespace.
const MAX_NAMESPACE: usize = 76;

/// The socket of a containerd: a path, also with `unix://` before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(PathBuf);

impl Address {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Address {
    fn default() -> Self {
        Self(DEFAULT_ADDRESS.into())
    }
}

impl FromStr for Address {
    type Err = ContainerdError;

    fn from_str(text: &str) -> Result<Self, ContainerdError> {
        let invalid = |reason| ContainerdError::Address {
            address: text.to_owned(),
            reason,
        };
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.contains("://") {
            return Err(invalid("only unix sockets are supported; write a path"));
        }
        if !path.starts_with('/') {
            return Err(invalid("write the absolute path of its unix socket"));
        }
        Ok(Self(path.into()))
    }
}

/// One namespace of one containerd. Cheap to clone; clones share the connection, which is made when it is first used
/// and again when it is lost.
#[derive(Clone, Debug)]
pub struct Containerd {
    pub(crate) channel: Channel,
    address: Arc<Path>,
    namespace: Arc<str>,
    namespace_header: AsciiMetadataValue,
    lease: Option<AsciiMetadataValue>,
}

impl Containerd {
    /// The namespace of the containerd at an address. Must be called within a tokio runtime.
    pub fn new(address: &Address, namespace: &str) -> Result<Self, ContainerdError> {
        check_namespace(namespace)?;
        let namespace_header = header("namespace", namespace)?;
        let path = address.0.clone();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://containerd")
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_with_connector_lazy(connector);
        Ok(Self {
            channel,
            address: address.0.as_path().into(),
            namespace: namespace.into(),
            namespace_header,
            lease: None,
        })
    }

    /// The socket.
    pub fn address(&self) -> &Path {
        &self.address
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same namespace; whatever is made through it is held by the lease.
    pub fn under(&self, lease: &Lease) -> Self {
        Self {
            lease: Some(lease.header().clone()),
            ..self.clone()
        }
    }

    /// The blobs.
    pub fn content(&self) -> Content {
        Content::new(self.clone())
    }

    /// The image names.
    pub fn images(&self) -> Images {
        Images::new(self.clone())
    }

    /// The snapshots of one snapshotter.
    pub fn snapshotter(&self, name: &str) -> Result<Snapshotter, ContainerdError> {
        Snapshotter::new(self.clone(), name)
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("containerd-namespace", self.namespace_header.clone());
        if let Some(lease) = &self.lease {
            metadata.insert("containerd-lease", lease.clone());
        }
        request
    }

    /// Waits for an answer; errors say what was attempted.
    pub(crate) async fn ask<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ContainerdError> {
        match call.await {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(self.failed(what, &status)),
        }
    }

    pub(crate) fn failed(&self, what: &str, status: &Status) -> ContainerdError {
        ContainerdError::of_status(&self.address, what, status)
    }

    pub(crate) fn malformed(&self, what: &str, reason: impl Into<String>) -> ContainerdError {
        ContainerdError::Malformed {
            address: self.address.to_path_buf(),
            what: what.to_owned(),
            reason: reason.into(),
        }
    }
}

/// containerd's own rule, checked early because it would answer each call with it.
fn check_namespace(name: &str) -> Result<(), ContainerdError> {
    let is_word = |part: &str| {
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = part.as_bytes();
        ends(bytes.first())
            && ends(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() <= MAX_NAMESPACE && name.split('.').all(is_word) {
        return Ok(());
    }
    Err(ContainerdError::Name {
        what: "namespace",
        name: name.to_owned(),
        reason: "write letters, digits, and -, _ or . between them, 76 at most",
    })
}

pub(crate) fn header(
    what: &'static str,
    text: &str,
) -> Result<AsciiMetadataValue, ContainerdError> {
    text.parse().map_err(|_| ContainerdError::Name {
        what,
        name: text.to_owned(),
        reason: "it has characters that cannot be sent",
    })
}
