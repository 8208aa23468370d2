//! Keeping what was learnt from challenges, and answering them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::header::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::challenge::{BearerChallenge, Challenge, parse};
use super::credential::{Authority, Credential, Token, TokenRequest};
use super::token;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;

/// Tokens are thrown away a little before they expire.
const LIFETIME_PERCENT: u64 = 90;

/// With more than these, those not in use this very moment are forgotten.
const MOST_TOKENS: usize = 1024;

type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

/// What a whole client remembers: challenges by host and scopes, tokens by request
/// and credential.
#[derive(Default)]
pub(crate) struct AuthState {
    challenges: Mutex<HashMap<(String, String), Challenge>>,
    tokens: Mutex<HashMap<(TokenRequest, [u8; 32]), Slot>>,
}

#[derive(Clone)]
struct Held {
    value: String,
    until: Instant,
}

/// What is known of one user, by the name of the account.
pub(crate) type Accounts = tokio::sync::Mutex<HashMap<String, Account>>;

/// What is known of a user at one host.
#[derive(Default)]
pub(crate) struct Account {
    credential: Option<Credential>,
    identity: Option<Option<[u8; 32]>>,
}

/// With what a token is fetched.
enum Login {
    /// The user's side fetches it.
    Theirs([u8; 32]),
    /// We do.
    Ours(Credential),
}

/// The authorization of one request, over its repeats.
pub(crate) struct AuthSession<'a> {
    pub(crate) state: &'a AuthState,
    pub(crate) authority: &'a Arc<dyn Authority>,
    pub(crate) accounts: &'a Accounts,
    pub(crate) http: &'a reqwest::Client,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) scopes: &'a [String],
    pub(crate) shown: Shown,
}

/// What the last request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// No authorization.
    Nothing,
    /// Something remembered, which may be out of date.
    Remembered,
    /// Something made for this very request.
    Fresh,
}

/// What to do after a 401.
pub(crate) enum Next {
    /// Send it again: there is something new to show.
    Retry,
    /// Nothing more to show; the answer stands.
    Stop,
    /// The registry has judged the token; its word for it.
    Denied(String),
}

impl AuthSession<'_> {
    /// The header to send, from what earlier answers taught.
    pub(crate) async fn header(&mut self) -> Result<Option<HeaderValue>, RegistryError> {
        let challenge = lock(&self.state.challenges).get(&self.key()).cloned();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => self.basic().await,
            Some(Challenge::Bearer(bearer)) => self.bearer(&bearer).await.map(Some),
        }
    }

    /// Learns from a 401.
    pub(crate) async fn refused(&mut self, headers: &HeaderMap) -> Result<Next, RegistryError> {
        let Some(challenge) = parse(headers) else {
            return Ok(Next::Stop);
        };
        match &challenge {
            Challenge::Basic if self.shown == Shown::Nothing => {
                let known = self.credential().await? != Credential::Anonymous;
                lock(&self.state.challenges).insert(self.key(), challenge);
                Ok(if known { Next::Retry } else { Next::Stop })
            }
            Challenge::Basic => Ok(Next::Stop),
            Challenge::Bearer(bearer) => {
                if self.shown == Shown::Fresh {
                    return Ok(match &bearer.error {
                        Some(error) => Next::Denied(format!("server message: {error}: ")),
                        None => Next::Stop,
                    });
                }
                if self.shown == Shown::Remembered {
                    self.forget(bearer).await?;
                }
                lock(&self.state.challenges).insert(self.key(), challenge);
                Ok(Next::Retry)
            }
        }
    }

    async fn basic(&mut self) -> Result<Option<HeaderValue>, RegistryError> {
        let header = match self.credential().await? {
            Credential::Basic { username, password } => {
                let pair = format!("{username}:{password}");
                format!(
                    "Basic {}",
                    base64::engine::general_purpose::STANDARD.encode(pair)
                )
            }
            Credential::Bearer(value) => format!("Bearer {value}"),
            Credential::Anonymous | Credential::IdentityToken(_) => return Ok(None),
        };
        self.shown = Shown::Fresh;
        secret_header(header).map(Some)
    }

    async fn bearer(&mut self, challenge: &BearerChallenge) -> Result<HeaderValue, RegistryError> {
        let request = self.token_request(challenge);
        let login = self.login().await?;
        let slot = self.slot(&request, &login);
        // One fetch for all who wait for the same token.
        let mut held = slot.lock().await;
        if let Some(token) = held.as_ref().filter(|token| token.until > Instant::now()) {
            self.shown = Shown::Remembered;
            return secret_header(format!("Bearer {}", token.value));
        }
        let token = self.fetch(&request, &login).await?;
        self.shown = Shown::Fresh;
        let header = secret_header(format!("Bearer {}", token.value));
        *held = Some(token);
        header
    }

    async fn fetch(&self, request: &TokenRequest, login: &Login) -> Result<Held, RegistryError> {
        let token = match login {
            Login::Ours(credential) => self.fetch_ours(request, credential).await?,
            Login::Theirs(_) => {
                let token = self.authority.token(request).await;
                match token.map_err(|source| self.credential_error(source))? {
                    Some(token) => token,
                    None => self.fetch_ours(request, &self.credential().await?).await?,
                }
            }
        };
        let lifetime = Duration::from_secs(token.expires_in) / 100 * LIFETIME_PERCENT as u32;
        Ok(Held {
            value: token.value,
            until: Instant::now() + lifetime,
        })
    }

    async fn fetch_ours(
        &self,
        request: &TokenRequest,
        credential: &Credential,
    ) -> Result<Token, RegistryError> {
        token::fetch(self.http, request, credential, self.endpoint.scheme).await
    }

    async fn forget(&self, challenge: &BearerChallenge) -> Result<(), RegistryError> {
        let login = self.login().await?;
        let slot = self.slot(&self.token_request(challenge), &login);
        *slot.lock().await = None;
        Ok(())
    }

    fn slot(&self, request: &TokenRequest, login: &Login) -> Slot {
        let key = (request.clone(), fingerprint(login));
        let mut tokens = lock(&self.state.tokens);
        if tokens.len() >= MOST_TOKENS {
            tokens.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(tokens.entry(key).or_default())
    }

    fn key(&self) -> (String, String) {
        (self.endpoint.host.clone(), self.scopes.join(" "))
    }

    /// What we need and what the registry asked for: a mirror may know the repository
    /// by another name.
    fn token_request(&self, challenge: &BearerChallenge) -> TokenRequest {
        let mut scopes = self.scopes.to_vec();
        scopes.extend_from_slice(&challenge.scopes);
        scopes.sort();
        scopes.dedup();
        TokenRequest {
            host: self.endpoint.host.clone(),
            realm: challenge.realm.clone(),
            service: challenge.service.clone(),
            scopes,
        }
    }

    async fn credential(&self) -> Result<Credential, RegistryError> {
        let name = &self.endpoint.account;
        let mut accounts = self.accounts.lock().await;
        let account = accounts.entry(name.clone()).or_default();
        if let Some(credential) = &account.credential {
            return Ok(credential.clone());
        }
        let credential = self.authority.credential(name).await;
        let credential = credential.map_err(|source| self.credential_error(source))?;
        account.credential = Some(credential.clone());
        Ok(credential)
    }

    /// The user's own way to tokens, if there is one.
    async fn login(&self) -> Result<Login, RegistryError> {
        match self.identity().await? {
            Some(identity) => Ok(Login::Theirs(identity)),
            None => self.credential().await.map(Login::Ours),
        }
    }

    async fn identity(&self) -> Result<Option<[u8; 32]>, RegistryError> {
        let name = &self.endpoint.account;
        let mut accounts = self.accounts.lock().await;
        let account = accounts.entry(name.clone()).or_default();
        if let Some(identity) = account.identity {
            return Ok(identity);
        }
        let identity = self.authority.identity(name).await;
        let identity = identity.map_err(|source| self.credential_error(source))?;
        account.identity = Some(identity);
        Ok(identity)
    }

    fn credential_error(&self, source: super::AuthorityError) -> RegistryError {
        RegistryError::Credentials {
            host: self.endpoint.account.clone(),
            source,
        }
    }
}

/// Tells logins apart without keeping secrets as keys.
fn fingerprint(login: &Login) -> [u8; 32] {
    let (kind, parts): (u8, [&[u8]; 2]) = match login {
        Login::Ours(Credential::Anonymous) => (0, [b"", b""]),
        Login::Ours(Credential::Basic { username, password }) => {
            (1, [username.as_bytes(), password.as_bytes()])
        }
        Login::Ours(Credential::IdentityToken(secret)) => (2, [secret.as_bytes(), b""]),
        Login::Ours(Credential::Bearer(secret)) => (3, [secret.as_bytes(), b""]),
        Login::Theirs(identity) => (4, [identity, b""]),
    };
    let mut hash = Sha256::new();
    hash.update([kind]);
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn secret_header(text: String) -> Result<HeaderValue, RegistryError> {
    let mut header = HeaderValue::from_str(&text).map_err(|_| {
        RegistryError::Challenge(
            "the credentials contain characters that HTTP does not allow".to_owned(),
        )
    })?;
    header.set_sensitive(true);
    Ok(header)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
