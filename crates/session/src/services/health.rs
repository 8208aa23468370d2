//! Tells a daemon that the client still answers.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_protocol::health::health_check_response::ServingStatus;
use kiln_protocol::health::health_server::Health;
use kiln_protocol::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use tonic::{Request, Response, Status};

pub(super) struct Alive;

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}

#[tonic::async_trait]
impl Health for Alive {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(serving()))
    }

    async fn list(
        &self,
        _request: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let statuses = BTreeMap::from([(String::new(), serving())]);
        Ok(Response::new(HealthListResponse { statuses }))
    }

    async fn watch(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // It never changes: a client that does not serve is gone.
        let now = futures::stream::once(std::future::ready(Ok(serving())));
        Ok(Response::new(now.chain(futures::stream::pending()).boxed()))
    }
}
