//! Disk usage and what frees it.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use kiln_engine::{PruneOptions, UsageOptions};
use kiln_protocol::control::{DiskUsageRequest, DiskUsageResponse, PruneRequest, UsageRecord};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::{Answers, Control, errors};

/// Records that wait for a client to take them.
const QUEUE: usize = 64;

/// `DiskUsage`: what the store holds.
pub(super) async fn disk_usage(
    control: &Control,
    request: DiskUsageRequest,
) -> Result<Response<DiskUsageResponse>, Status> {
    let age = nanoseconds(request.age_limit);
    let options = UsageOptions {
        filters: request.filter,
        age: (!age.is_zero()).then_some(age),
    };
    let records = control.engine.disk_usage(options).await;
    let records = records.map_err(|error| errors::status(&error))?;
    Ok(Response::new(DiskUsageResponse {
        record: records.into_iter().map(record).collect(),
    }))
}

/// `Prune`: removes what nobody uses and says what that is as it goes. It stops
/// when the client leaves.
pub(super) async fn prune(
    control: &Control,
    request: PruneRequest,
) -> Result<Response<Answers<UsageRecord>>, Status> {
    let options = PruneOptions {
        filters: request.filter,
        all: request.all,
        keep_duration: nanoseconds(request.keep_duration),
        reserved_space: bytes(request.reserved_space),
        max_used_space: bytes(request.max_used_space),
        min_free_space: bytes(request.min_free_space),
    };
    let engine = control.engine.clone();
    let (sender, records) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let told = sender.clone();
        let pruned = engine.prune_and_tell(options, move |removed| {
            match told.blocking_send(Ok(record(removed.clone()))) {
                Ok(()) => ControlFlow::Continue(()),
                // The client has left.
                Err(_) => ControlFlow::Break(()),
            }
        });
        if let Err(error) = pruned.await {
            let _ = sender.send(Err(errors::status(&error))).await;
        }
    });
    Ok(Response::new(ReceiverStream::new(records).boxed()))
}

/// Negative amounts mean none, as zero does.
fn bytes(amount: i64) -> u64 {
    u64::try_from(amount).unwrap_or(0)
}

fn nanoseconds(amount: i64) -> Duration {
    Duration::from_nanos(bytes(amount))
}

fn record(record: kiln_engine::UsageRecord) -> UsageRecord {
    let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    UsageRecord {
        id: record.id,
        mutable: record.mutable,
        in_use: record.in_use,
        size: signed(record.size),
        created_at: Some(time(record.created)),
        last_used_at: record.last_used.map(time),
        usage_count: signed(record.usage_count),
        description: record.description,
        record_type: record.record_type.as_str().into(),
        shared: record.shared,
        parents: record.parents,
        ..UsageRecord::default()
    }
}

fn time(time: SystemTime) -> prost_types::Timestamp {
    prost_types::Timestamp::from(time)
}
