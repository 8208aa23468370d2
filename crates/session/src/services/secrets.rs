//! Gives secrets to a daemon.

use std::sync::Arc;

use kiln_protocol::secrets;
use kiln_protocol::secrets::{GetSecretRequest, GetSecretResponse};
use tonic::{Request, Response, Status};

use crate::Secrets;
use crate::remote::check_size;

pub(super) struct Lent(pub(super) Arc<dyn Secrets>);

#[tonic::async_trait]
impl secrets::secrets_server::Secrets for Lent {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let data = self.0.secret(&id).await.map_err(Status::from)?;
        let data = data.ok_or_else(|| Status::not_found(format!("secret {id}: not found")))?;
        let data = check_size(&id, data).map_err(Status::from)?;
        Ok(Response::new(GetSecretResponse { data }))
    }
}
