//! Who we are to a registry: credentials, challenges and bearer tokens.

mod challenge;
mod credential;
mod session;
mod token;

pub use credential::{Anonymous, Authority, AuthorityError, Credential, Token, TokenRequest};
pub(crate) use session::{Accounts, AuthSession, AuthState, Next, Shown};
pub(crate) use token::fetch;
