//! The calls about the history of builds.

use futures::stream::{self, StreamExt as _};
use kiln_engine::history::{HistoryError, ListenOptions, Scope, Until};
use kiln_protocol::control::{
    BuildHistoryEvent, BuildHistoryRequest, UpdateBuildHistoryRequest, UpdateBuildHistoryResponse,
};
use tonic::{Response, Status};

use crate::control::{Answers, Control, with_clock};

/// `ListenBuildHistory`: records as they are and as they change.
pub(crate) async fn listen(
    control: &Control,
    request: BuildHistoryRequest,
) -> Result<Response<Answers<BuildHistoryEvent>>, Status> {
    let options = options(request)?;
    let listener = control.engine.history().listen(options).map_err(status)?;
    let events = stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((event.map_err(status), listener))
    });
    Ok(with_clock(Response::new(events.boxed())))
}

fn options(request: BuildHistoryRequest) -> Result<ListenOptions, Status> {
    let limit = match usize::try_from(request.limit) {
        Ok(0) => None,
        Ok(limit) => Some(limit),
        Err(_) => {
            let text = format!("invalid limit {}", request.limit);
            return Err(Status::invalid_argument(text));
        }
    };
    Ok(ListenOptions {
        scope: match request.active_only {
            true => Scope::Running,
            false => Scope::All,
        },
        until: match request.early_exit {
            true => Until::Listed,
            false => Until::Closed,
        },
        build: (!request.r#ref.is_empty()).then_some(request.r#ref),
        filters: request.filter,
        limit,
    })
}

/// `UpdateBuildHistory`: pins, deletes and finalizes a record.
pub(crate) async fn update(
    control: &Control,
    request: UpdateBuildHistoryRequest,
) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
    let history = control.engine.history();
    let build = request.r#ref.as_str();
    if request.delete {
        history.delete(build).await.map_err(status)?;
    } else if request.finalize {
        history.finalize(build).await;
    } else {
        let pinned = history.set_pinned(build, request.pinned).await;
        pinned.map_err(status)?;
    }
    Ok(Response::new(UpdateBuildHistoryResponse {}))
}

fn status(error: HistoryError) -> Status {
    let text = kiln_engine::error_chain(&error);
    match error {
        HistoryError::NotFound { .. } | HistoryError::NoSuchBuild { .. } => Status::not_found(text),
        HistoryError::Running { .. } => Status::failed_precondition(text),
        HistoryError::Filter { .. } => Status::invalid_argument(text),
        HistoryError::Closed => Status::unavailable(text),
        HistoryError::Damaged { .. } => Status::data_loss(text),
        HistoryError::Log { .. }
        | HistoryError::Database(_)
        | HistoryError::Content(_)
        | HistoryError::Store(_) => Status::internal(text),
    }
}
