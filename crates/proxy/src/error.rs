//! Why a proxy could not be set up.

use std::io;

use thiserror::Error;

/// Why a proxy, or something it needs, could not be made.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The listener is of no use.
    #[error("failed to serve the proxy's listener: {0}")]
    Listener(#[source] io::Error),
    /// A certificate could not be made.
    #[error("failed to make the proxy's certificate for {name}: {reason}")]
    Certificate {
        /// Whose.
        name: String,
        /// What was wrong.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("failed to set up the proxy's HTTP client: {0}")]
    Client(String),
}
