//! What a step may fetch, decided by whoever runs the proxy.

use async_trait::async_trait;

/// Judges every request before anything of it is sent on.
#[async_trait]
pub trait Rules: Send + Sync + 'static {
    /// Decides about a request with an absolute `http` or `https` URL, in which user name and password are
    /// replaced by `xxxxx` and the scheme's own port is left out.
    async fn judge(&self, method: &str, url: &str) -> Verdict;
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent on as it is.
    Allow,
    /// It is answered with status 403 and this reason.
    Deny(String),
    /// This absolute `http` or `https` URL is fetched instead; for `GET` only, other methods are denied. The URL
    /// that was asked about means [`Verdict::Allow`].
    Fetch(String),
}
