//! Registry logins over a session.

use std::path::PathBuf;
use std::sync::Arc;

use kiln_protocol::filesync;
use kiln_protocol::filesync::auth_server::{self, AuthServer};
use kiln_session::{Credential, Credentials, Services, Session, SessionError, Token, TokenRequest};
use rstest::rstest;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::pair::Pair;

/// Logins for some hosts; `tokens` also fetches tokens.
struct Logins {
    tokens: bool,
}

#[async_trait::async_trait]
impl Credentials for Logins {
    async fn credential(&self, host: &str) -> Result<Credential, SessionError> {
        Ok(match host {
            "basic.example" => Credential::Basic {
                username: "me".into(),
                password: "pw".into(),
            },
            "docker.io" => Credential::IdentityToken("refresh".into()),
            _ => Credential::Anonymous,
        })
    }

    fn fetches_tokens(&self) -> bool {
        self.tokens
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>, SessionError> {
        Ok(Some(Token {
            value: format!(
                "{} {} {} {:?}",
                request.host, request.realm, request.service, request.scopes
            ),
            expires_in: 90,
        }))
    }
}

async fn pair(tokens: bool, seeds: Option<PathBuf>) -> (Pair, Session) {
    let pair = Pair::new(Services {
        credentials: Some(Arc::new(Logins { tokens })),
        token_seeds: seeds,
        ..Services::default()
    })
    .await;
    let session = pair.remote.session();
    (pair, session)
}

#[rstest]
#[case("basic.example", Credential::Basic { username: "me".into(), password: "pw".into() })]
#[case("docker.io", Credential::IdentityToken("refresh".into()))]
#[case("other.example", Credential::Anonymous)]
#[tokio::test]
async fn a_login_is_found_by_host(#[case] host: &str, #[case] expected: Credential) {
    let (_pair, session) = pair(false, None).await;
    let found = session.credentials.credential(host).await;
    assert_eq!(found.expect("credential"), expected);
}

#[tokio::test]
async fn a_client_without_logins_is_anonymous() {
    let pair = Pair::new(Services::default()).await;
    let credentials = pair.remote.session().credentials;
    let found = credentials.credential("basic.example").await;
    assert_eq!(found.expect("credential"), Credential::Anonymous);
    assert_eq!(
        credentials
            .identity("basic.example")
            .await
            .expect("identity"),
        None
    );
}

#[tokio::test]
async fn sessions_of_one_login_are_known_to_be_one() {
    let (one, other) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let mut identities = Vec::new();
    for (folder, host) in [
        (&one, "basic.example"),
        (&one, "basic.example"),
        (&other, "basic.example"),
        (&one, "docker.io"),
        (&one, "anyone.example"),
        (&other, "anyone.example"),
    ] {
        let (_pair, session) = pair(true, Some(folder.path().to_owned())).await;
        let identity = session.credentials.identity(host).await;
        identities.push(identity.expect("identity").expect("an identity"));
    }
    let [first, again, other, hub, nobody, nobody_too] = identities[..] else {
        panic!("six identities")
    };
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_ne!(first, hub);
    assert_eq!(nobody, nobody_too, "those who have no login share tokens");
    assert_ne!(nobody, first);
}

#[rstest]
#[case::no_seeds(true, false)]
#[case::no_tokens(false, true)]
#[tokio::test]
async fn a_client_may_not_fetch_tokens(#[case] tokens: bool, #[case] has_seeds: bool) {
    let folder = tempfile::tempdir().expect("dir");
    let seeds = has_seeds.then(|| folder.path().to_owned());
    let (_pair, session) = pair(tokens, seeds).await;
    let identity = session.credentials.identity("basic.example").await;
    assert_eq!(identity.expect("answer"), None);
}

#[tokio::test]
async fn the_client_fetches_the_token() {
    let (_pair, session) = pair(true, None).await;
    let request = TokenRequest {
        host: "registry-1.docker.io".into(),
        realm: "https://auth.example/token".into(),
        service: "registry".into(),
        scopes: vec!["repository:a:pull".into(), "repository:b:pull".into()],
    };
    let token = session
        .credentials
        .token(&request)
        .await
        .expect("token")
        .expect("a token");
    let expected = r#"docker.io https://auth.example/token registry ["repository:a:pull", "repository:b:pull"]"#;
    assert_eq!((token.value.as_str(), token.expires_in), (expected, 90));
}

/// A client that names a key that is not its own.
struct Impostor;

#[tonic::async_trait]
impl auth_server::Auth for Impostor {
    async fn credentials(
        &self,
        _: Request<filesync::CredentialsRequest>,
    ) -> Result<Response<filesync::CredentialsResponse>, Status> {
        Err(Status::unimplemented("no"))
    }

    async fn fetch_token(
        &self,
        _: Request<filesync::FetchTokenRequest>,
    ) -> Result<Response<filesync::FetchTokenResponse>, Status> {
        Ok(Response::new(filesync::FetchTokenResponse {
            token: "old".into(),
            expires_in: 300,
            issued_at: 1000,
        }))
    }

    async fn get_token_authority(
        &self,
        request: Request<filesync::GetTokenAuthorityRequest>,
    ) -> Result<Response<filesync::GetTokenAuthorityResponse>, Status> {
        let length = if request.get_ref().host == "short" {
            31
        } else {
            32
        };
        let public_key = vec![9; length].into();
        Ok(Response::new(filesync::GetTokenAuthorityResponse {
            public_key,
        }))
    }

    async fn verify_token_authority(
        &self,
        request: Request<filesync::VerifyTokenAuthorityRequest>,
    ) -> Result<Response<filesync::VerifyTokenAuthorityResponse>, Status> {
        let signed = match request.get_ref().host.as_str() {
            "empty" => Vec::new(),
            _ => [vec![0; 64], request.get_ref().payload.to_vec()].concat(),
        };
        Ok(Response::new(filesync::VerifyTokenAuthorityResponse {
            signed: signed.into(),
        }))
    }
}

#[tokio::test]
async fn an_identity_must_be_proved() {
    let methods = [
        "Credentials",
        "FetchToken",
        "GetTokenAuthority",
        "VerifyTokenAuthority",
    ]
    .map(|name| format!("/moby.filesync.v1.Auth/{name}"));
    let methods = methods.each_ref().map(String::as_str);
    let pair = Pair::with_routes(Routes::new(AuthServer::new(Impostor)), &methods).await;
    let credentials = pair.remote.session().credentials;
    for (host, expected) in [
        ("short", "the public key does not have 32 bytes"),
        ("empty", "cannot sign with the key"),
        ("other", "cannot sign with the key"),
    ] {
        let error = credentials
            .identity(host)
            .await
            .expect_err("no proof")
            .to_string();
        assert!(error.contains(expected), "{host}: {error}");
    }
    let found = credentials.credential("other").await.expect("answer");
    assert_eq!(found, Credential::Anonymous);
    let request = TokenRequest {
        host: "other".into(),
        realm: String::new(),
        service: String::new(),
        scopes: Vec::new(),
    };
    let token = credentials
        .token(&request)
        .await
        .expect("token")
        .expect("a token");
    assert_eq!(token.expires_in, 0, "it was issued long ago");
}
