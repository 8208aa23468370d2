//! Why a source could not be had.

use std::io;
use std::path::PathBuf;

use kiln_containerd::ContainerdError;
use kiln_registry::{ReferenceError, RegistryError};
use kiln_session::SessionError;
use kiln_session::transfer::TransferError;
use kiln_signature::SignatureError;
use kiln_store::StoreError;
use kiln_store::walk::FilterError;
use oci_spec::image::Digest;

use crate::git::GitError;

/// An error of a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The reference in the source's URL is not an image name.
    #[error("invalid reference {text:?}: {source}")]
    Reference {
        /// What was written.
        text: String,
        /// Why it is none.
        #[source]
        source: ReferenceError,
    },
    /// An attribute of the source op has a value that it cannot have.
    #[error("invalid {what} {value:?}{reason}")]
    Attribute {
        /// Which, in words.
        what: &'static str,
        /// The value.
        value: String,
        /// Empty, or beginning with `: `.
        reason: String,
    },
    /// The registry, or the way to it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// containerd, which has the image.
    #[error(transparent)]
    Containerd(#[from] ContainerdError),
    /// The client's side failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A client's files could not be had.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The local store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The image's manifest, index or config is not usable.
    #[error("invalid image {reference}: {reason}")]
    Image {
        /// The image's name or digest.
        reference: String,
        /// What is wrong.
        reason: String,
    },
    /// The index has nothing for this platform.
    #[error(
        "no match for platform in manifest {digest}: not found (wanted {wanted}, it has: {available})"
    )]
    Platform {
        /// The index.
        digest: Digest,
        /// The platform wanted.
        wanted: String,
        /// The platforms there are.
        available: String,
    },
    /// `image.checksum` does not match.
    #[error("image digest {actual} for {reference} does not match expected checksum {expected}")]
    Checksum {
        /// The image.
        reference: String,
        /// Its digest.
        actual: Digest,
        /// The digest demanded.
        expected: Digest,
    },
    /// `image.layerlimit` asks for layers that are not there.
    #[error("layer limit {limit} is greater than the number of layers in the image {layers}")]
    LayerLimit {
        /// Layers wanted.
        limit: usize,
        /// Layers there are.
        layers: usize,
    },
    /// An OCI layout has no such manifest or blob, or is not a layout.
    #[error("OCI layout {}: {reason}", path.display())]
    Layout {
        /// The layout's directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of an OCI layout has other content than its name says.
    #[error("OCI layout {}: blob {expected} has digest {actual}; the layout is damaged", path.display())]
    LayoutDigest {
        /// The layout's directory.
        path: PathBuf,
        /// The blob's name.
        expected: Digest,
        /// What it contains.
        actual: String,
    },
    /// A pattern of a local source.
    #[error(transparent)]
    Pattern(#[from] FilterError),
    /// A file of a local source could not be read.
    #[error("local source {name}: cannot {action} {}: {source}", path.display())]
    Read {
        /// The local source's name, such as `context`.
        name: String,
        /// What was tried.
        action: &'static str,
        /// The file, relative to the source's directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file changed each time it was read.
    #[error(
        "local source {name}: {} keeps changing while it is read; stop what writes to it, or exclude it in .dockerignore",
        path.display()
    )]
    Changing {
        /// The local source's name.
        name: String,
        /// The file, relative to the source's directory.
        path: PathBuf,
    },
    /// The copy of a local source could not be written.
    #[error("local source {name}: cannot {action} {}: {source}", path.display())]
    Write {
        /// The local source's name.
        name: String,
        /// What was tried.
        action: &'static str,
        /// The file, relative to the snapshot.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A single blob cannot be had.
    #[error("blob {digest}: {source}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server did not answer, or broke off.
    #[error("cannot download {url}: {}", causes(source))]
    Download {
        /// The file, without passwords.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// A server refused.
    #[error("invalid response status {status} ({reason}) for {url}")]
    DownloadStatus {
        /// The file, without passwords.
        url: String,
        /// HTTP's status.
        status: u16,
        /// The status in words.
        reason: &'static str,
    },
    /// A file is not what the build demands.
    #[error("digest mismatch {actual}: {expected} is what the checksum of {url} demands")]
    DownloadDigest {
        /// The file, without passwords.
        url: String,
        /// What came.
        actual: Digest,
        /// What was to come.
        expected: Digest,
    },
    /// A signature without keys, or keys without a signature.
    #[error(
        "http signature verification requires both pubkey and signature: give http.sig.pubkey and http.sig.signature"
    )]
    HalfASignature,
    /// A file is not signed by anybody who is trusted.
    #[error("failed to verify pgp signature of {url}: {source}")]
    DownloadSignature {
        /// The file, without passwords.
        url: String,
        /// What does not fit.
        #[source]
        source: SignatureError,
    },
    /// A download could not be written, or read again.
    #[error("download of {url}: cannot {action} the file: {source}")]
    DownloadWrite {
        /// The file, without passwords.
        url: String,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A download was stopped.
    #[error("download of {url}: stopped")]
    DownloadStopped {
        /// The file, without passwords.
        url: String,
    },
    /// A git repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A secret that a source wants cannot be used.
    #[error("failed to retrieve HTTP auth secret {id}: it {reason}")]
    Secret {
        /// The secret.
        id: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Something that is not there yet.
    #[error("{what} are not supported yet")]
    Unsupported {
        /// What, in words.
        what: String,
    },
    /// The build was stopped.
    #[error("local source {name}: stopped")]
    Stopped {
        /// The local source's name.
        name: String,
    },
    /// A thread of ours died. A bug.
    #[error("internal error: {0}")]
    Internal(String),
}

/// All that is behind a failed request: the outermost error says little.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
