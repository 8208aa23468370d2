//! Who we are to a registry: credentials, challenges and bearer tokens.

mod challenge;
mod credential;
mod session;
mod token;

pub use credential::{Anonymous, Authority, AuthorityError, Credential, Token, TokenRequest};
pub(crate) use session::{AuthSession, AuthState, Next, Shown};
