//! Progress in the form of BuildKit's API, which is also that of stored logs.

use kiln_protocol::{control, pb};
use kiln_session::progress::{
    Log, Position, ProgressGroup, Range, SourceFile, Status, Timestamp, Update, Vertex, Warning,
};

/// A batch of news as clients of the API get it.
pub fn status_response(update: Update) -> control::StatusResponse {
    control::StatusResponse {
        vertexes: update.vertexes.into_iter().map(vertex).collect(),
        statuses: update.statuses.into_iter().map(status).collect(),
        logs: update.logs.into_iter().map(log).collect(),
        warnings: update.warnings.into_iter().map(warning).collect(),
    }
}

pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    // Before 1970 the two parts of a time have the same sign here; protobuf
    // wants nanoseconds that count upwards.
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    match nanos < 0 {
        true => prost_types::Timestamp {
            seconds: seconds - 1,
            nanos: nanos + 1_000_000_000,
        },
        false => prost_types::Timestamp { seconds, nanos },
    }
}

fn vertex(vertex: Vertex) -> control::Vertex {
    control::Vertex {
        digest: vertex.digest,
        inputs: vertex.inputs,
        name: vertex.name,
        cached: vertex.cached,
        started: vertex.started.map(timestamp),
        completed: vertex.completed.map(timestamp),
        error: vertex.error,
        progress_group: vertex.progress_group.map(progress_group),
    }
}

fn progress_group(group: ProgressGroup) -> pb::ProgressGroup {
    pb::ProgressGroup {
        id: group.id,
        name: group.name,
        weak: group.weak,
    }
}

fn status(status: Status) -> control::VertexStatus {
    control::VertexStatus {
        id: status.id,
        vertex: status.vertex,
        name: status.name,
        current: status.current,
        total: status.total,
        timestamp: Some(timestamp(status.timestamp)),
        started: status.started.map(timestamp),
        completed: status.completed.map(timestamp),
    }
}

fn log(log: Log) -> control::VertexLog {
    control::VertexLog {
        vertex: log.vertex,
        timestamp: Some(timestamp(log.timestamp)),
        stream: i64::from(log.stream),
        msg: log.data.into(),
    }
}

fn warning(warning: Warning) -> control::VertexWarning {
    control::VertexWarning {
        vertex: warning.vertex,
        level: i64::from(warning.level),
        short: warning.short.into(),
        detail: warning.detail.into_iter().map(Into::into).collect(),
        url: warning.url,
        info: warning.source.map(source_info),
        ranges: warning.ranges.into_iter().map(range).collect(),
    }
}

fn source_info(file: SourceFile) -> pb::SourceInfo {
    pb::SourceInfo {
        filename: file.filename,
        data: file.data.into(),
        definition: None,
        language: file.language,
    }
}

fn range(range: Range) -> pb::Range {
    let position = |position: Position| pb::Position {
        line: position.line,
        character: position.character,
    };
    pb::Range {
        start: Some(position(range.start)),
        end: Some(position(range.end)),
    }
}
