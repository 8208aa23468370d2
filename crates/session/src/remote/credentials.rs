//! Registry logins of a connected client.
//!
//! A client that proves who it is without showing a secret (its token authority) also
//! fetches tokens itself, so its secret stays with it.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_protocol::filesync::auth_client::AuthClient;
use kiln_protocol::filesync::{
    CredentialsRequest, FetchTokenRequest, GetTokenAuthorityRequest, VerifyTokenAuthorityRequest,
};
use ring::signature::{ED25519, UnparsedPublicKey};
use tonic::Code;
use tonic::transport::Channel;

use super::Calls;
use crate::session::fill_random;
use crate::tunnel::MESSAGE_LIMIT;
use crate::{Credential, Credentials, LoginIdentity, SessionError, Token, TokenRequest};

/// How long a client may look for a login or fetch a token: helpers are slow.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Lifetime of a token whose server names none, in seconds.
const DEFAULT_EXPIRY: u64 = 60;

/// Docker Hub's name in references, and the host that clients know it by.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

const SIGNATURE: usize = 64;

pub(super) struct RemoteCredentials(pub(super) Calls);

impl RemoteCredentials {
    fn client(&self) -> AuthClient<Channel> {
        AuthClient::new(self.0.channel()).max_decoding_message_size(MESSAGE_LIMIT)
    }

    /// The client's public key for its login at `host`; `None` if it does not fetch tokens.
    async fn authority(&self, host: &str) -> Result<Option<[u8; 32]>, SessionError> {
        let what = format!("token authority for {host}");
        let request = GetTokenAuthorityRequest {
            host: host.to_owned(),
            salt: salt().to_vec().into(),
        };
        let mut client = self.client();
        let call = client.get_token_authority(request);
        let key = match self.0.ask_within(TIMEOUT, &what, call).await {
            Ok(response) => response.into_inner().public_key,
            Err(SessionError::Refused {
                code: Code::Unimplemented | Code::Unavailable,
                ..
            }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let key = <[u8; 32]>::try_from(key.as_ref());
        let key = key.map_err(|_| SessionError::Malformed {
            what,
            reason: "the public key does not have 32 bytes".into(),
        })?;
        Ok(Some(key))
    }

    /// Fails unless the client can sign with the key: others may know it, too.
    async fn verify(&self, host: &str, key: &[u8; 32]) -> Result<(), SessionError> {
        let what = format!("token authority for {host}");
        let mut payload = [0; 32];
        fill_random(&mut payload);
        let request = VerifyTokenAuthorityRequest {
            host: host.to_owned(),
            payload: payload.to_vec().into(),
            salt: salt().to_vec().into(),
        };
        let mut client = self.client();
        let call = client.verify_token_authority(request);
        let answer = self.0.ask_within(TIMEOUT, &what, call).await?;
        let signed = answer.into_inner().signed;
        let is_signed = signed
            .split_at_checked(SIGNATURE)
            .is_some_and(|(signature, message)| {
                message == payload
                    && UnparsedPublicKey::new(&ED25519, key)
                        .verify(&payload, signature)
                        .is_ok()
            });
        match is_signed {
            true => Ok(()),
            false => Err(SessionError::Malformed {
                what,
                reason: "the client cannot sign with the key that it named".into(),
            }),
        }
    }
}

#[async_trait::async_trait]
impl Credentials for RemoteCredentials {
    async fn credential(&self, host: &str) -> Result<Credential, SessionError> {
        if !self.0.serves("/moby.filesync.v1.Auth/Credentials") {
            return Ok(Credential::Anonymous);
        }
        let request = CredentialsRequest {
            host: wire_host(host).to_owned(),
        };
        let mut client = self.client();
        let call = client.credentials(request);
        let what = format!("credentials for {host}");
        match self.0.ask_within(TIMEOUT, &what, call).await {
            Ok(response) => {
                let response = response.into_inner();
                Ok(credential_of(response.username, response.secret))
            }
            Err(SessionError::Refused {
                code: Code::Unimplemented,
                ..
            }) => Ok(Credential::Anonymous),
            Err(error) => Err(error),
        }
    }

    async fn identity(&self, host: &str) -> Result<Option<LoginIdentity>, SessionError> {
        if !self.0.serves("/moby.filesync.v1.Auth/GetTokenAuthority") {
            return Ok(None);
        }
        let host = wire_host(host);
        let Some(key) = self.authority(host).await? else {
            return Ok(None);
        };
        self.verify(host, &key).await?;
        Ok(Some(LoginIdentity(key)))
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>, SessionError> {
        if !self.0.serves("/moby.filesync.v1.Auth/FetchToken") {
            return Ok(None);
        }
        let wire = FetchTokenRequest {
            client_id: "buildkit-client".into(),
            host: wire_host(&request.host).to_owned(),
            realm: request.realm.clone(),
            service: request.service.clone(),
            scopes: request.scopes.clone(),
        };
        let mut client = self.client();
        let call = client.fetch_token(wire);
        let what = format!("token for {}", request.host);
        let answer = self.0.ask_within(TIMEOUT, &what, call).await?.into_inner();
        Ok(Some(Token {
            value: answer.token,
            expires_in: remaining(answer.expires_in, answer.issued_at),
        }))
    }
}

/// A secret without a user is an identity token.
fn credential_of(username: String, secret: String) -> Credential {
    match (username.is_empty(), secret.is_empty()) {
        (_, true) => Credential::Anonymous,
        (true, false) => Credential::IdentityToken(secret),
        (false, false) => Credential::Basic {
            username,
            password: secret,
        },
    }
}

fn wire_host(host: &str) -> &str {
    if host == HUB { HUB_HOST } else { host }
}

/// The name of a host in references.
pub(crate) fn reference_host(host: &str) -> &str {
    if host == HUB_HOST { HUB } else { host }
}

/// Seconds from now until a token expires.
fn remaining(expires_in: i64, issued_at: i64) -> u64 {
    let lifetime = u64::try_from(expires_in)
        .ok()
        .filter(|seconds| *seconds > 0)
        .unwrap_or(DEFAULT_EXPIRY);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    match (now, u64::try_from(issued_at)) {
        (Ok(now), Ok(issued)) if issued > 0 => {
            lifetime.saturating_sub(now.as_secs().saturating_sub(issued))
        }
        _ => lifetime,
    }
}

/// New in every process, so that keys say nothing to other daemons.
fn salt() -> &'static [u8; 32] {
    static SALT: OnceLock<[u8; 32]> = OnceLock::new();
    SALT.get_or_init(|| {
        let mut salt = [0; 32];
        fill_random(&mut salt);
        salt
    })
}
