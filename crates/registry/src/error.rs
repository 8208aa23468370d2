//! What can go wrong between us and a registry.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use oci_spec::image::Digest;

use crate::auth::AuthorityError;
use crate::reference::ReferenceError;

const LOGIN: &str =
    "if the name is right, log in with `docker login`: its config.json is read here, too";

/// An error of a registry or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The image name is not one.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The registry has no such manifest or blob.
    #[error("{what}: not found")]
    NotFound {
        /// The reference, or the URL of a blob.
        what: String,
    },
    /// The registry refuses these credentials (or asks for some).
    #[error(
        "{action} access denied, repository does not exist or may require authorization: {reason}authorization failed"
    )]
    Denied {
        /// `pull` or `push`.
        action: &'static str,
        /// The registry's word for it: empty, or ending in `: `.
        reason: String,
    },
    /// No token could be had from the authorization server.
    #[error("failed to authorize: failed to fetch {kind} token: {source}")]
    Token {
        /// `anonymous` or `oauth`.
        kind: &'static str,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// The authorization server's answer, or the registry's challenge, makes no sense.
    #[error("failed to authorize: {0}")]
    Challenge(String),
    /// The user's credentials could not be read.
    #[error("failed to get credentials for {host}: {source}")]
    Credentials {
        /// The registry.
        host: String,
        /// Why.
        #[source]
        source: AuthorityError,
    },
    /// An answer with an unexpected status.
    #[error("unexpected status from {method} request to {url}: {status}{body}{}", patience(*.retry_after))]
    Status {
        /// The request's method.
        method: String,
        /// The request's URL without secrets.
        url: String,
        /// Such as `403 Forbidden`.
        status: String,
        /// The status as a number.
        code: u16,
        /// The registry's own explanation.
        body: ErrorBody,
        /// How long the registry wants to be left alone (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// The request could not be made, or the connection broke.
    #[error("failed to do request: {method} {url}: {source}")]
    Transport {
        /// The request's method.
        method: String,
        /// The request's URL without secrets.
        url: String,
        /// Why, down to the operating system's reason.
        #[source]
        source: TransportError,
    },
    /// A redirect that must not, or cannot, be followed.
    #[error("refusing redirect from {from} to {to}: {reason}")]
    Redirect {
        /// Where it came from.
        from: String,
        /// Where it would lead.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// A manifest or blob longer than its description, or than is allowed at all.
    #[error("rejecting {size} byte {what}: at most {limit} bytes are allowed")]
    TooLarge {
        /// The manifest's or blob's name.
        what: String,
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// The registry sent other content than was asked for.
    #[error("unexpected content of {what} from {host}: digest {actual}, expected {expected}")]
    DigestMismatch {
        /// The manifest's or blob's name.
        what: String,
        /// The registry or mirror that sent it.
        host: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: String,
    },
    /// The registry sent fewer or more bytes than the descriptor says.
    #[error("unexpected size of {what} from {host}: {actual} bytes, expected {expected}")]
    SizeMismatch {
        /// The blob's name.
        what: String,
        /// The registry or mirror that sent it.
        host: String,
        /// What the descriptor says.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// An answer that does not follow the protocol.
    #[error("invalid answer from {url}: {reason}")]
    Protocol {
        /// The request's URL without secrets.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Image manifests of the first generation have been removed everywhere.
    #[error(
        "support Docker Image manifest version 2, schema 1 has been removed. \
         More information at https://docs.docker.com/go/deprecated-image-specs/"
    )]
    SchemaOne,
    /// A manifest that is neither an image nor an index.
    #[error("invalid manifest {digest}: {reason}")]
    Manifest {
        /// The manifest's digest.
        digest: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings leave no host to ask.
    #[error(
        "no host of {repository} may be used to {capability}: add the capability {capability:?} to one in its hosts.toml"
    )]
    Nowhere {
        /// The repository.
        repository: String,
        /// `resolve`, `pull` or `push`.
        capability: &'static str,
    },
    /// A certificate or key file could not be used.
    #[error("failed to load {}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The HTTP client could not be set up.
    #[error("failed to set up the HTTP client: {0}")]
    Setup(String),
    /// Reading the blob to push, or writing the pulled one, failed.
    #[error("{what}: {source}")]
    Io {
        /// The blob.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The content store refused the blob.
    #[error(transparent)]
    Store(Box<dyn Error + Send + Sync>),
}

impl RegistryError {
    /// Whether the registry said that it has no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. }) || matches!(self, Self::Status { code: 404, .. })
    }

    /// How long to wait before trying again, if the registry has said so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Token { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Denied { .. }
            | Self::Status {
                code: 401 | 403, ..
            } => Some(LOGIN),
            Self::Token { source, .. } => source.hint(),
            Self::Status { code: 429, .. } => Some(
                "registries allow less to those who are not logged in; a mirror in \
                 [registry.\"HOST\"] of buildkitd.toml spares most requests",
            ),
            // What servers of HTTPS say to plain HTTP.
            Self::Status { code: 400, url, .. } if url.starts_with("http://") => Some(
                "it was asked over plain HTTP and may speak HTTPS: say so, and which certificate to \
                 trust (ca), in [registry.\"HOST\"] of buildkitd.toml or in a hosts.toml",
            ),
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => Some(
                "the registry, or a proxy on the way to it, sends other content than it was given; \
                 nothing of it was kept",
            ),
            Self::Transport { source, .. } => source.hint(),
            _ => None,
        }
    }

    /// Whether what came is not what its name says.
    pub(crate) fn is_wrong_content(&self) -> bool {
        matches!(
            self,
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. }
        )
    }

    /// Whether trying the same again later may help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Status { code, .. } => is_temporary_status(*code),
            Self::Transport { source, .. } => source.is_temporary(),
            Self::Token { source, .. } => source.is_temporary(),
            _ => false,
        }
    }
}

/// Statuses that say "not now" rather than "no".
pub(crate) fn is_temporary_status(code: u16) -> bool {
    matches!(code, 408 | 425 | 429) || (500..=599).contains(&code)
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Connecting, TLS, sending or receiving failed.
    #[error("{}", reason(.0))]
    Http(#[from] reqwest::Error),
    /// The registry was silent for too long.
    #[error("no answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
    /// The connection ended before the whole answer had come.
    #[error("unexpected EOF after {received} of {expected} bytes")]
    Truncated {
        /// Bytes that came.
        received: u64,
        /// Bytes that were announced.
        expected: u64,
    },
}

impl TransportError {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Http(error) if has_certificate_error(error) => Some(
                "if this registry has a certificate of its own, name its authority: \
                 `ca` in [registry.\"HOST\"] of buildkitd.toml, or a hosts.toml",
            ),
            Self::Http(_) | Self::Timeout(_) | Self::Truncated { .. } => None,
        }
    }

    fn is_temporary(&self) -> bool {
        match self {
            Self::Http(error) => {
                !(error.is_builder() || has_certificate_error(error) || is_refused(error))
            }
            Self::Timeout(_) | Self::Truncated { .. } => true,
        }
    }
}

/// Nobody listens at a registry's port: more likely a wrong address than a
/// restart, and the user waits for the answer.
fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::ConnectionRefused) || error.source().is_some_and(is_refused)
}

/// A certificate that is wrong now will be wrong in a second, too.
fn has_certificate_error(error: &(dyn Error + 'static)) -> bool {
    if matches!(
        error.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidCertificate(_))
    ) {
        return true;
    }
    // What an I/O error carries is not its source, only its source's source is.
    let carried = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    carried.is_some_and(|inner| has_certificate_error(inner))
        || error.source().is_some_and(has_certificate_error)
}

/// The innermost reason: what is around it repeats the URL and says "client error".
fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &(dyn Error + 'static) = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}

/// What is told of a registry that wants to be left alone for a while.
fn patience(retry_after: Option<Duration>) -> String {
    match retry_after.map(|wait| wait.as_secs()) {
        None | Some(0) => String::new(),
        Some(seconds) => format!("\nthe registry asks to try again after {seconds} seconds"),
    }
}

/// Of a body that is no registry's JSON so much is shown.
const MAX_TEXT: usize = 400;

/// A registry's JSON error body, `{"errors": [{"code", "message"}]}`, or whatever stands in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// Code and message of each error.
    pub errors: Vec<(String, String)>,
    /// The beginning of a body that is text, such as a proxy's.
    pub text: String,
}

impl ErrorBody {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Body {
            #[serde(default)]
            errors: Vec<Item>,
        }
        #[derive(serde::Deserialize)]
        struct Item {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let parsed: Option<Body> = serde_json::from_slice(body).ok();
        let errors = parsed.map(|body| body.errors).unwrap_or_default();
        let text = match errors.is_empty() {
            true => readable(body),
            false => String::new(),
        };
        Self {
            errors: errors
                .into_iter()
                .map(|item| (item.code, item.message))
                .collect(),
            text,
        }
    }
}

impl std::fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (code, message) in &self.errors {
            write!(f, "\n{}: {message}", code.to_lowercase().replace('_', " "))?;
        }
        match self.text.as_str() {
            "" => Ok(()),
            text => write!(f, "\n{text}"),
        }
    }
}

/// A body as one line for people: of a page its title.
fn readable(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else {
        return String::new();
    };
    let text = match text.trim_start().starts_with('<') {
        true => title(text).unwrap_or_default(),
        false => text,
    };
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_TEXT)
        .collect()
}

fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title>")? + "<title>".len();
    let length = lower[start..].find("</title>")?;
    page.get(start..start + length)
}
