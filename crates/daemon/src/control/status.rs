//! `Status`: the progress of a build, from its beginning, for as many clients
//! as ask.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use kiln_engine::history::HistoryError;
use kiln_protocol::control::{StatusRequest, StatusResponse};
use tonic::metadata::MetadataValue;
use tonic::{Response, Status};

use super::{Answers, Control};

/// Tells clients the daemon's clock.
const CLOCK: &str = "buildkit-current-timestamp";

/// How much earlier than its build a client may ask.
const PATIENCE: Duration = Duration::from_secs(6);

pub(super) async fn status(
    control: &Control,
    request: StatusRequest,
) -> Result<Response<Answers<StatusResponse>>, Status> {
    let id = request.r#ref;
    let news = control.engine.history().status(&id, PATIENCE).await;
    let news = news.map_err(|error| match error {
        HistoryError::NoSuchBuild { .. } => Status::not_found(format!("no such job {id}")),
        error => Status::internal(kiln_engine::error_chain(&error)),
    })?;
    let news = stream::unfold(news, |mut news| async {
        let next = news.next().await?;
        let next = next.map_err(|error| Status::internal(kiln_engine::error_chain(&error)));
        Some((next, news))
    });
    Ok(with_clock(Response::new(news.boxed())))
}

/// Adds the daemon's clock to an answer, as clients that compare times need it.
pub(crate) fn with_clock<T>(mut response: Response<T>) -> Response<T> {
    let now = jiff::Timestamp::now().to_string();
    if let Ok(now) = MetadataValue::try_from(now) {
        response.metadata_mut().insert(CLOCK, now);
    }
    response
}
