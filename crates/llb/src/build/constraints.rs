//! What is asked of the server and said to the user about one op.

use super::source_map::{SourceLocation, SourceMap};
use crate::platform;
use kiln_protocol::pb;
use oci_spec::image::Platform;
use std::sync::Arc;

/// Description key under which progress shows an op.
pub const CUSTOM_NAME: &str = "llb.customname";

/// Placement and metadata of an op. Only the platform and the filters are part of its digest.
#[derive(Clone, Debug, Default)]
pub struct Constraints {
    /// Where it must run, when not where its state says.
    pub platform: Option<Platform>,
    /// Worker filters.
    pub worker_filters: Vec<String>,
    /// Name, caps, cache switches, resources.
    pub metadata: pb::OpMetadata,
    /// Source lines.
    pub locations: Vec<SourceLocation>,
    /// For a local source without a session: what tells its uploads apart.
    pub local_unique_id: Option<String>,
}

impl Constraints {
    /// No constraints.
    pub fn new() -> Self {
        Self::default()
    }

    /// No constraints but a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self::new().name(name)
    }

    /// Sets the name that progress shows.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.describe(CUSTOM_NAME, name)
    }

    /// Adds a description entry.
    pub fn describe(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.description.insert(key.into(), value.into());
        self
    }

    /// Sets the platform.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }

    /// Runs the op even if its result is cached.
    pub fn ignore_cache(mut self) -> Self {
        self.metadata.ignore_cache = true;
        self
    }

    /// Decides whether the op's result belongs into an exported cache.
    pub fn export_cache(mut self, export: bool) -> Self {
        self.metadata.export_cache = Some(pb::ExportCache { value: export });
        self
    }

    /// Shows the op as part of a group.
    pub fn progress_group(mut self, group: pb::ProgressGroup) -> Self {
        self.metadata.progress_group = Some(group);
        self
    }

    /// Limits what the op may use; not part of the cache key.
    pub fn linux_resources(mut self, resources: pb::LinuxResources) -> Self {
        self.metadata.linux_resources = Some(resources);
        self
    }

    /// Adds source lines.
    pub fn location(mut self, map: &Arc<SourceMap>, ranges: Vec<pb::Range>) -> Self {
        self.locations.push(SourceLocation {
            map: map.clone(),
            ranges,
        });
        self
    }

    /// Asks for a capability.
    pub fn cap(mut self, id: &str) -> Self {
        self.metadata.caps.insert(id.into(), true);
        self
    }

    pub(crate) fn require(&mut self, id: &str) {
        self.metadata.caps.insert(id.into(), true);
    }

    /// The frame of an op under `base` (the marshalling defaults) and these constraints.
    pub(crate) fn frame(&self, base: &Constraints) -> pb::Op {
        let platform = self.platform.as_ref().or(base.platform.as_ref());
        let filters = base.worker_filters.iter().chain(&self.worker_filters);
        pb::Op {
            platform: Some(
                platform.map_or_else(|| platform::to_pb(&platform::host()), platform::to_pb),
            ),
            constraints: Some(pb::WorkerConstraints {
                filter: filters.cloned().collect(),
            }),
            ..Default::default()
        }
    }
}

/// Adds what `more` says to `metadata`.
pub(crate) fn merge_metadata(metadata: &mut pb::OpMetadata, more: &pb::OpMetadata) {
    metadata.ignore_cache |= more.ignore_cache;
    let description = more.description.iter();
    metadata
        .description
        .extend(description.map(|(key, value)| (key.clone(), value.clone())));
    metadata
        .caps
        .extend(more.caps.keys().map(|id| (id.clone(), true)));
    if more.export_cache.is_some() {
        metadata.export_cache = more.export_cache;
    }
    if more.progress_group.is_some() {
        metadata.progress_group = more.progress_group.clone();
    }
    if more.linux_resources.is_some() {
        metadata.linux_resources = more.linux_resources.clone();
    }
}
