//! Logs in to registries for a daemon.

use std::path::PathBuf;
use std::sync::Arc;

use kiln_protocol::filesync::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse, auth_server,
};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tonic::{Request, Response, Status};

use super::seeds;
use crate::remote::reference_host;
use crate::{Credential, Credentials, TokenRequest};

pub(super) struct Auth {
    credentials: Arc<dyn Credentials>,
    seeds: Option<PathBuf>,
}

impl Auth {
    pub(super) fn new(credentials: Arc<dyn Credentials>, seeds: Option<PathBuf>) -> Self {
        Self { credentials, seeds }
    }

    async fn credential(&self, host: &str) -> Result<Credential, Status> {
        let credential = self.credentials.credential(reference_host(host)).await;
        credential.map_err(Status::from)
    }

    /// The key that stands for the login at a host. All sessions without a login share one.
    async fn key(&self, host: &str, salt: &[u8]) -> Result<Ed25519KeyPair, Status> {
        let Some(folder) = self
            .seeds
            .clone()
            .filter(|_| self.credentials.fetches_tokens())
        else {
            return Err(Status::unavailable("client side tokens disabled"));
        };
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
        if self.credential(host).await? != Credential::Anonymous {
            let name = host.to_owned();
            let seed = tokio::task::spawn_blocking(move || seeds::seed(&folder, &name)).await;
            let seed = seed.map_err(|error| Status::internal(error.to_string()))?;
            let seed = seed.map_err(|error| Status::internal(format!("token seed: {error}")))?;
            mac.update(&seed);
        }
        let key = Ed25519KeyPair::from_seed_unchecked(mac.sign().as_ref());
        key.map_err(|error| Status::internal(error.to_string()))
    }
}

#[tonic::async_trait]
impl auth_server::Auth for Auth {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let (username, secret) = match self.credential(&request.get_ref().host).await? {
            Credential::Anonymous => Default::default(),
            Credential::Basic { username, password } => (username, password),
            Credential::IdentityToken(token) => (String::new(), token),
        };
        Ok(Response::new(CredentialsResponse { username, secret }))
    }

    async fn fetch_token(
        &self,
        request: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        let request = request.into_inner();
        let host = reference_host(&request.host).to_owned();
        let wanted = TokenRequest {
            host,
            realm: request.realm,
            service: request.service,
            scopes: request.scopes,
        };
        let token = self
            .credentials
            .token(&wanted)
            .await
            .map_err(Status::from)?;
        let token = token.ok_or_else(|| Status::unimplemented("this client fetches no tokens"))?;
        Ok(Response::new(FetchTokenResponse {
            token: token.value,
            expires_in: i64::try_from(token.expires_in).unwrap_or(i64::MAX),
            issued_at: 0,
        }))
    }

    async fn get_token_authority(
        &self,
        request: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        let request = request.into_inner();
        let key = self.key(&request.host, &request.salt).await?;
        let public_key = key.public_key().as_ref().to_vec().into();
        Ok(Response::new(GetTokenAuthorityResponse { public_key }))
    }

    async fn verify_token_authority(
        &self,
        request: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        let request = request.into_inner();
        let key = self.key(&request.host, &request.salt).await?;
        let mut signed = key.sign(&request.payload).as_ref().to_vec();
        signed.extend_from_slice(&request.payload);
        Ok(Response::new(VerifyTokenAuthorityResponse {
            signed: signed.into(),
        }))
    }
}
