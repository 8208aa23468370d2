//! Secrets over a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kiln_protocol::secrets::secrets_server::{self, SecretsServer};
use kiln_protocol::secrets::{GetSecretRequest, GetSecretResponse};
use kiln_session::{MAX_SECRET_SIZE, Secrets, Services, SessionError};
use rstest::rstest;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use crate::pair::Pair;

pub(crate) struct Map(BTreeMap<&'static str, Vec<u8>>);

#[async_trait::async_trait]
impl Secrets for Map {
    async fn secret(&self, id: &str) -> Result<Option<Bytes>, SessionError> {
        if id == "broken" {
            return Err(SessionError::Provider {
                what: "secret broken".into(),
                message: "no such device".into(),
            });
        }
        Ok(self.0.get(id).map(|value| Bytes::copy_from_slice(value)))
    }
}

fn lent() -> Services {
    let secrets = BTreeMap::from([
        ("token", b"s3cret\0".to_vec()),
        ("empty", Vec::new()),
        ("largest", vec![7; MAX_SECRET_SIZE as usize]),
        ("too-large", vec![7; MAX_SECRET_SIZE as usize + 1]),
    ]);
    Services {
        secrets: Some(Arc::new(Map(secrets))),
        ..Services::default()
    }
}

#[rstest]
#[case("token", Some(7))]
#[case("empty", Some(0))]
#[case("largest", Some(512_000))]
#[case("missing", None)]
#[tokio::test]
async fn a_secret_is_found_by_its_id(#[case] id: &str, #[case] size: Option<usize>) {
    let folder = tempfile::tempdir().expect("tempdir");
    let pair = Pair::over_socket(folder.path(), lent()).await;
    let secret = pair
        .remote
        .session()
        .secrets
        .secret(id)
        .await
        .expect("secret");
    assert_eq!(secret.map(|secret| secret.len()), size);
}

#[rstest]
#[case(
    "too-large",
    "secret \"too-large\" is 512001 bytes; the limit is 512000 bytes"
)]
#[case("broken", "secret broken: no such device")]
#[tokio::test]
async fn the_clients_refusal_is_told(#[case] id: &str, #[case] expected: &str) {
    let pair = Pair::new(lent()).await;
    let secret = pair.remote.session().secrets.secret(id).await;
    let error = secret.expect_err("refused").to_string();
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn a_client_without_secrets_has_none() {
    let pair = Pair::new(Services::default()).await;
    let secret = pair.remote.session().secrets.secret("token").await;
    assert_eq!(secret.expect("answer"), None);
}

/// A client that does not keep to the rules.
struct Rogue;

#[tonic::async_trait]
impl secrets_server::Secrets for Rogue {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let size = match request.get_ref().id.as_str() {
            "over" => MAX_SECRET_SIZE as usize + 1,
            "huge" => 20 << 20,
            _ => return Err(Status::unimplemented("not here")),
        };
        let data = vec![0; size].into();
        Ok(Response::new(GetSecretResponse { data }))
    }
}

#[tokio::test]
async fn the_daemon_does_not_trust_sizes() {
    let routes = Routes::new(SecretsServer::new(Rogue));
    let methods = ["/moby.buildkit.secrets.v1.Secrets/GetSecret"];
    let pair = Pair::with_routes(routes, &methods).await;
    let secrets = pair.remote.session().secrets;
    let error = secrets.secret("over").await.expect_err("too large");
    assert!(
        matches!(error, SessionError::SecretTooBig { size: 512_001, .. }),
        "{error}"
    );
    let error = secrets.secret("huge").await.expect_err("too large");
    assert!(
        matches!(
            error,
            SessionError::Refused {
                code: Code::OutOfRange,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(secrets.secret("other").await.expect("answer"), None);
}
