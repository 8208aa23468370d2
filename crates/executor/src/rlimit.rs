//! Resource limits by name.

use rustix::process::{Resource, Rlimit as Limit};

use crate::{InvalidRequest, Rlimit};

const UNLIMITED: u64 = u64::MAX;

/// Limits as the kernel takes them.
pub(crate) fn parse(rlimits: &[Rlimit]) -> Result<Vec<(Resource, Limit)>, InvalidRequest> {
    let bounded = |value| (value != UNLIMITED).then_some(value);
    rlimits
        .iter()
        .map(|limit| {
            let resource =
                resource(&limit.name).ok_or_else(|| InvalidRequest::Rlimit(limit.name.clone()))?;
            Ok((
                resource,
                Limit {
                    current: bounded(limit.soft),
                    maximum: bounded(limit.hard),
                },
            ))
        })
        .collect()
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name.to_ascii_lowercase().as_str() {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}
