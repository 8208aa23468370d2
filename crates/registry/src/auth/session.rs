//! Keeping what was learnt from challenges, and answering them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::header::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::challenge::{BearerChallenge, Challenge, parse};
use super::credential::{Authority, Credential, TokenRequest};
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

/// The authorization of one request, over its repeats.
pub(crate) struct AuthSession<'a> {
    pub(crate) state: &'a AuthState,
    pub(crate) authority: &'a Arc<dyn Authority>,
    pub(crate) credentials: &'a tokio::sync::Mutex<HashMap<String, Credential>>,
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
        let credential = self.credential().await?;
        let slot = self.slot(&request, &credential);
        // One fetch for all who wait for the same token.
        let mut held = slot.lock().await;
        if let Some(token) = held.as_ref().filter(|token| token.until > Instant::now()) {
            self.shown = Shown::Remembered;
            return secret_header(format!("Bearer {}", token.value));
        }
        let token = self.fetch(&request, &credential).await?;
        self.shown = Shown::Fresh;
        let header = secret_header(format!("Bearer {}", token.value));
        *held = Some(token);
        header
    }

    async fn fetch(
        &self,
        request: &TokenRequest,
        credential: &Credential,
    ) -> Result<Held, RegistryError> {
        let from_user = self.authority.token(request).await;
        let token = match from_user.map_err(|source| self.credential_error(source))? {
            Some(token) => token,
            None => token::fetch(self.http, request, credential, self.endpoint.scheme).await?,
        };
        let lifetime = Duration::from_secs(token.expires_in) / 100 * LIFETIME_PERCENT as u32;
        Ok(Held {
            value: token.value,
            until: Instant::now() + lifetime,
        })
    }

    async fn forget(&self, challenge: &BearerChallenge) -> Result<(), RegistryError> {
        let credential = self.credential().await?;
        let slot = self.slot(&self.token_request(challenge), &credential);
        *slot.lock().await = None;
        Ok(())
    }

    fn slot(&self, request: &TokenRequest, credential: &Credential) -> Slot {
        let key = (request.clone(), fingerprint(credential));
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
        let account = &self.endpoint.account;
        let mut credentials = self.credentials.lock().await;
        if let Some(credential) = credentials.get(account) {
            return Ok(credential.clone());
        }
        let credential = self.authority.credential(account).await;
        let credential = credential.map_err(|source| self.credential_error(source))?;
        credentials.insert(account.clone(), credential.clone());
        Ok(credential)
    }

    fn credential_error(&self, source: super::AuthorityError) -> RegistryError {
        RegistryError::Credentials {
            host: self.endpoint.account.clone(),
            source,
        }
    }
}

/// Tells credentials apart without keeping them as keys.
fn fingerprint(credential: &Credential) -> [u8; 32] {
    let (kind, parts): (u8, [&str; 2]) = match credential {
        Credential::Anonymous => (0, ["", ""]),
        Credential::Basic { username, password } => (1, [username, password]),
        Credential::IdentityToken(secret) => (2, [secret, ""]),
        Credential::Bearer(secret) => (3, [secret, ""]),
    };
    let mut hash = Sha256::new();
    hash.update([kind]);
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
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
