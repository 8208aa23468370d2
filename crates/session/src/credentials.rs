//! Registry credentials, asked for per host.

use crate::SessionError;

/// How to sign in to one registry.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credential {
    /// Nothing is known: ask without signing in.
    #[default]
    Anonymous,
    /// User name and password (also personal access tokens).
    Basic {
        /// User name.
        username: String,
        /// Password or token.
        password: String,
    },
    /// An identity (refresh) token, exchanged at the token endpoint for an
    /// access token.
    IdentityToken(String),
}

/// Secrets must not reach logs, so only the kind is shown.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::IdentityToken(_) => "IdentityToken(…)",
        })
    }
}

/// Finds the credential for a registry host.
#[async_trait::async_trait]
pub trait Credentials: Send + Sync {
    /// `host` is the registry's `name[:port]` as in image references, with
    /// `docker.io` for Docker Hub. An unknown host is
    /// [`Credential::Anonymous`], not an error.
    async fn credential(&self, host: &str) -> Result<Credential, SessionError>;
}

/// A client without any credentials.
#[derive(Debug, Clone, Copy)]
pub struct Anonymous;

#[async_trait::async_trait]
impl Credentials for Anonymous {
    async fn credential(&self, _host: &str) -> Result<Credential, SessionError> {
        Ok(Credential::Anonymous)
    }
}
