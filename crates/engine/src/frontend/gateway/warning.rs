//! `Warn`: a frontend has something to say about a step.

use kiln_llb::pb;
use kiln_protocol::frontend::WarnRequest;
use kiln_session::progress::{Update, Warning};

use super::Gateway;
use crate::error::Location;

pub(super) fn send(gateway: &Gateway, request: WarnRequest) {
    let location = request.info.as_ref();
    let location = location.map(|info| Location::new(info, &request.ranges));
    let location =
        location.unwrap_or_else(|| Location::new(&pb::SourceInfo::default(), &request.ranges));
    let warning = Warning {
        vertex: request.digest,
        // Nobody means the level below the most important one.
        level: u8::try_from(request.level).unwrap_or(u8::MAX).max(1),
        short: request.short.to_vec(),
        detail: request.detail.iter().map(|line| line.to_vec()).collect(),
        url: request.url,
        source: request.info.is_some().then_some(location.file),
        ranges: location.ranges,
    };
    gateway.bridge.progress.update(Update {
        warnings: vec![warning],
        ..Update::default()
    });
}
