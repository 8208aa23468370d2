//! The door through which a user's credentials come in.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

/// Why credentials could not be had.
pub type AuthorityError = Box<dyn Error + Send + Sync>;

/// Knows the credentials of one user.
#[async_trait]
pub trait Authority: Send + Sync {
    /// The credential for a registry, `host[:port]` as in references and `docker.io` for
    /// Docker Hub. Asked once per [`crate::Repository`] and host.
    async fn credential(&self, host: &str) -> Result<Credential, AuthorityError>;

    /// Who the user is at a host, without their secret, if [`Authority::token`] fetches
    /// tokens there. Equal identities share tokens. Asked once per
    /// [`crate::Repository`] and host.
    async fn identity(&self, _host: &str) -> Result<Option<[u8; 32]>, AuthorityError> {
        Ok(None)
    }

    /// A token that the user's side fetched itself, so that the secret stays there.
    /// Asked where there is an identity; `None` leaves it to the client, with
    /// [`Authority::credential`].
    async fn token(&self, _request: &TokenRequest) -> Result<Option<Token>, AuthorityError> {
        Ok(None)
    }
}

/// What to show to a registry.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// Nothing.
    Anonymous,
    /// User name and password.
    Basic {
        /// The user.
        username: String,
        /// The password or access token.
        password: String,
    },
    /// An OAuth2 refresh token, which Docker calls identity token.
    IdentityToken(String),
    /// A ready bearer token.
    Bearer(String),
}

/// Secrets do not belong into logs.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => write!(f, "Basic({username})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
            Self::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

/// What a registry's challenge asks a token for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenRequest {
    /// The registry's host.
    pub host: String,
    /// The URL of the authorization server.
    pub realm: String,
    /// The name under which the authorization server knows the registry.
    pub service: String,
    /// Such as `repository:library/alpine:pull`, sorted.
    pub scopes: Vec<String>,
}

/// A bearer token and how long it is good for.
#[derive(Clone)]
pub struct Token {
    /// The secret.
    pub value: String,
    /// Seconds from now.
    pub expires_in: u64,
}

/// Shows nothing to anyone.
#[derive(Debug, Clone, Copy)]
pub struct Anonymous;

impl Anonymous {
    /// One to share.
    pub fn shared() -> Arc<dyn Authority> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Authority for Anonymous {
    async fn credential(&self, _host: &str) -> Result<Credential, AuthorityError> {
        Ok(Credential::Anonymous)
    }
}
