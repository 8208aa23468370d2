//! The calls about the history of builds.

use kiln_protocol::control::{
    BuildHistoryEvent, BuildHistoryRequest, UpdateBuildHistoryRequest, UpdateBuildHistoryResponse,
};
use tonic::{Response, Status};

use crate::control::{Answers, Control};

/// `ListenBuildHistory`: records as they are and as they change.
pub(crate) async fn listen(
    _control: &Control,
    _request: BuildHistoryRequest,
) -> Result<Response<Answers<BuildHistoryEvent>>, Status> {
    Err(missing())
}

/// `UpdateBuildHistory`: pins, deletes and finalizes a record.
pub(crate) async fn update(
    _control: &Control,
    _request: UpdateBuildHistoryRequest,
) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
    Err(missing())
}

fn missing() -> Status {
    Status::unimplemented("the history of builds is not supported yet")
}
