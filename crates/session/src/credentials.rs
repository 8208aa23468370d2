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

    /// Whether [`Credentials::token`] fetches tokens.
    fn fetches_tokens(&self) -> bool {
        false
    }

    /// Who the user is at `host`, if their side fetches tokens itself, so that their
    /// secret need not be known here. Equal identities are one login.
    async fn identity(&self, _host: &str) -> Result<Option<LoginIdentity>, SessionError> {
        Ok(None)
    }

    /// A token for a registry, fetched with the user's login. `None` leaves it to whoever
    /// asks, with [`Credentials::credential`].
    async fn token(&self, _request: &TokenRequest) -> Result<Option<Token>, SessionError> {
        Ok(None)
    }
}

/// Stands for a login without telling it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoginIdentity(pub [u8; 32]);

/// What a registry asks a token for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The registry's host.
    pub host: String,
    /// The URL of the token server.
    pub realm: String,
    /// The token server's name for the registry.
    pub service: String,
    /// Such as `repository:library/alpine:pull`.
    pub scopes: Vec<String>,
}

/// A bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The secret.
    pub value: String,
    /// Seconds from now.
    pub expires_in: u64,
}

/// The token itself must not reach logs.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(… for {} s)", self.expires_in)
    }
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
