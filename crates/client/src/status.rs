//! The course of a build, as the daemon tells it.

use futures::{Stream, TryStreamExt as _};
use kiln_protocol::{control, pb};
use kiln_session::progress::{
    Log, Position, ProgressGroup, Range, SourceFile, Status, Timestamp, Update, Vertex, Warning,
};

use crate::{Client, ClientError};

impl Client {
    /// News of a build, from its beginning to its end; ended builds are told
    /// once more from the history.
    pub async fn status(
        &self,
        reference: &str,
    ) -> Result<impl Stream<Item = Result<Update, ClientError>> + Send + use<>, ClientError> {
        let request = control::StatusRequest {
            r#ref: reference.to_owned(),
        };
        let client = self.clone();
        let answer = self.control().status(request).await;
        let answer = answer.map_err(|status| self.failed("failed to get status", status))?;
        let updates = answer.into_inner().map_ok(update);
        Ok(updates.map_err(move |status| client.failed("failed to receive status", status)))
    }
}

/// A time as the protocol has it; `None` if it is none.
pub(crate) fn timestamp(time: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

fn time(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    time.as_ref().and_then(timestamp)
}

/// What cannot do without a time gets the present one.
fn time_or_now(given: Option<prost_types::Timestamp>) -> Timestamp {
    time(given).unwrap_or_else(Timestamp::now)
}

fn update(news: control::StatusResponse) -> Update {
    Update {
        vertexes: news.vertexes.into_iter().map(vertex).collect(),
        statuses: news.statuses.into_iter().map(status).collect(),
        logs: news.logs.into_iter().map(log).collect(),
        warnings: news.warnings.into_iter().map(warning).collect(),
    }
}

fn vertex(vertex: control::Vertex) -> Vertex {
    Vertex {
        digest: vertex.digest,
        inputs: vertex.inputs,
        name: vertex.name,
        started: time(vertex.started),
        completed: time(vertex.completed),
        cached: vertex.cached,
        error: vertex.error,
        progress_group: vertex.progress_group.map(|group| ProgressGroup {
            id: group.id,
            name: group.name,
            weak: group.weak,
        }),
    }
}

fn status(status: control::VertexStatus) -> Status {
    Status {
        id: status.id,
        vertex: status.vertex,
        name: status.name,
        total: status.total,
        current: status.current,
        timestamp: time_or_now(status.timestamp),
        started: time(status.started),
        completed: time(status.completed),
    }
}

fn log(log: control::VertexLog) -> Log {
    Log {
        vertex: log.vertex,
        stream: log.stream.try_into().unwrap_or(2),
        data: log.msg.into(),
        timestamp: time_or_now(log.timestamp),
    }
}

fn warning(warning: control::VertexWarning) -> Warning {
    Warning {
        vertex: warning.vertex,
        level: warning.level.try_into().unwrap_or(u8::MAX),
        short: warning.short.into(),
        detail: warning.detail.into_iter().map(Into::into).collect(),
        url: warning.url,
        source: warning.info.map(|info| SourceFile {
            filename: info.filename,
            data: info.data.into(),
            language: info.language,
        }),
        ranges: warning.ranges.iter().map(range).collect(),
    }
}

fn range(range: &pb::Range) -> Range {
    let position = |at: Option<pb::Position>| {
        let at = at.unwrap_or_default();
        Position {
            line: at.line,
            character: at.character,
        }
    };
    Range {
        start: position(range.start),
        end: position(range.end),
    }
}
