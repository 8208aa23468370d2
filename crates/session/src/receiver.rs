//! Those who take an image as an archive and may have parts of it already.

use std::io::{self, Write};
use std::str::FromStr;

use oci_spec::image::Digest;

use crate::SessionError;

/// The attribute by which an exporter on a daemon is told that its client takes the archive in this way, and what it
/// knows layers by. It is Kiln's own; other daemons send everything.
pub const RECEIVER: &str = "kiln.receiver";

/// What a receiver knows layers by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerNames {
    /// Chain ids: a layer is known by what it holds and what lies below it. Such a receiver takes one image, that of
    /// this machine's platform.
    Chains,
    /// Digests of blobs as they are stored.
    Blobs,
}

/// Takes an image as an archive that lacks the layers which are there already.
#[async_trait::async_trait]
pub trait ImageReceiver: Send + Sync {
    /// What its layers are known by.
    fn layer_names(&self) -> LayerNames;

    /// Whether it has a layer.
    async fn has_layer(&self, name: &Digest) -> Result<bool, SessionError>;

    /// Begins to take an archive. It blocks, so it must be used outside of async code. Flushing the stream is the end:
    /// that returns once everything is in its place. A stream that is dropped before has been for nothing. There may
    /// be a second one after one that failed.
    fn receive(&self) -> io::Result<Box<dyn Write + Send>>;
}

impl LayerNames {
    /// The word for it in [`RECEIVER`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Chains => "chains",
            Self::Blobs => "blobs",
        }
    }
}

impl FromStr for LayerNames {
    type Err = SessionError;

    fn from_str(text: &str) -> Result<Self, SessionError> {
        let all = [Self::Chains, Self::Blobs];
        let found = all.into_iter().find(|names| names.name() == text);
        found.ok_or_else(|| SessionError::Malformed {
            what: format!("{RECEIVER}={text}"),
            reason: "it is chains or blobs".into(),
        })
    }
}

/// The id of the store in which a daemon looks up the layers that the receiver of an exporter has.
pub(crate) fn store(exporter: usize) -> String {
    format!("receiver:{exporter}")
}
