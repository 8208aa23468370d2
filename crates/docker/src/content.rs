//! Which blobs an engine with containerd's store has. The builder that is in every engine answers that.

use http::{Method, StatusCode};
use http_body_util::Empty;
use hyper::upgrade;
use hyper_util::rt::TokioIo;
use kiln_protocol::content::InfoRequest;
use kiln_protocol::content::content_client::ContentClient;
use oci_spec::image::Digest;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::DockerError;
use crate::connection::{Connector, PATIENCE, reason, request};

/// Where engines turn a connection into one of gRPC. Newer ones take gRPC as it is.
const UPGRADE: &str = "/grpc";

/// The engine's content store.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    client: ContentClient<Channel>,
    connector: Connector,
}

impl Content {
    pub(crate) async fn connect(connector: &Connector) -> Result<Self, DockerError> {
        let failed = |error: tonic::transport::Error| {
            DockerError::protocol(connector.socket(), reason(&error))
        };
        let endpoint = Endpoint::from_static("http://docker").timeout(PATIENCE);
        let channel = match upgraded(connector).await? {
            Some(stream) => {
                let mut stream = Some(stream);
                let once = service_fn(move |_: Uri| {
                    let stream = stream.take();
                    async { stream.ok_or_else(|| std::io::Error::other("the connection was lost")) }
                });
                endpoint.connect_with_connector(once).await
            }
            None => {
                let connector = connector.clone();
                let dial = service_fn(move |_: Uri| {
                    let connector = connector.clone();
                    async move { connector.dial().await.map(TokioIo::new) }
                });
                endpoint.connect_with_connector(dial).await
            }
        };
        Ok(Self {
            client: ContentClient::new(channel.map_err(failed)?),
            connector: connector.clone(),
        })
    }

    /// Whether a blob is there.
    pub(crate) async fn has(&self, digest: &Digest) -> Result<bool, DockerError> {
        let request = InfoRequest {
            digest: digest.to_string(),
        };
        match self.client.clone().info(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(DockerError::Refused {
                socket: self.connector.socket().to_owned(),
                what: "say which layers it has",
                message: status.message().to_owned(),
            }),
        }
    }
}

/// A connection that speaks gRPC from now on; `None` from an engine that does not know of that.
async fn upgraded(connector: &Connector) -> Result<Option<upgrade::Upgraded>, DockerError> {
    let failed =
        |error: &dyn std::error::Error| DockerError::protocol(connector.socket(), reason(error));
    let request = request(Method::POST, UPGRADE)
        .header("connection", "Upgrade")
        .header("upgrade", "h2c")
        .body(Empty::new());
    let answer = connector
        .send(request.map_err(|error| failed(&error))?)
        .await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(None);
    }
    let upgraded = upgrade::on(answer).await;
    upgraded.map(Some).map_err(|error| failed(&error))
}
