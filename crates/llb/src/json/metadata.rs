//! Metadata, source maps and nested definitions.

use super::value::{Object, Value};
use super::{map, object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_protocol::pb;

/// Which of the two spellings of keys and numbers.
#[derive(Clone, Copy)]
pub(super) enum Style {
    /// Go's struct tags: snake case, numbers.
    Go,
    /// Protobuf's JSON form: camel case, 64-bit numbers as strings.
    Proto,
}

impl Style {
    fn metadata(self, metadata: &pb::OpMetadata) -> Value {
        match self {
            Self::Go => go_metadata(metadata),
            Self::Proto => proto_metadata(metadata),
        }
    }
}

/// Metadata with the keys of Go's struct tags.
pub(super) fn go_metadata(metadata: &pb::OpMetadata) -> Value {
    let resources = metadata.linux_resources.as_ref().map(|it| {
        object()
            .number("memory", it.memory)
            .number("memorySwap", it.memory_swap)
            .number("cpuShares", it.cpu_shares as i64)
            .number("cpuPeriod", it.cpu_period as i64)
            .number("cpuQuota", it.cpu_quota)
            .text("cpusetCpus", &it.cpuset_cpus)
            .text("cpusetMems", &it.cpuset_mems)
            .done()
    });
    let names = [
        "ignore_cache",
        "export_cache",
        "progress_group",
        "linux_resources",
    ];
    with_names(metadata, names, resources)
}

/// Metadata in protobuf's JSON form.
fn proto_metadata(metadata: &pb::OpMetadata) -> Value {
    let resources = metadata.linux_resources.as_ref().map(|it| {
        object()
            .long("memory", it.memory)
            .long("memorySwap", it.memory_swap)
            .unsigned_long("cpuShares", it.cpu_shares)
            .unsigned_long("cpuPeriod", it.cpu_period)
            .long("cpuQuota", it.cpu_quota)
            .text("cpusetCpus", &it.cpuset_cpus)
            .text("cpusetMems", &it.cpuset_mems)
            .done()
    });
    let names = [
        "ignoreCache",
        "exportCache",
        "progressGroup",
        "linuxResources",
    ];
    with_names(metadata, names, resources)
}

fn with_names(metadata: &pb::OpMetadata, names: [&str; 4], resources: Option<Value>) -> Value {
    let [ignore_cache, export_cache, progress_group, linux_resources] = names;
    let description = map(&metadata.description, |text| text.as_str().into());
    let caps = map(&metadata.caps, |on| Value::Bool(*on));
    let group = metadata.progress_group.as_ref().map(|it| {
        object()
            .text("id", &it.id)
            .text("name", &it.name)
            .flag("weak", it.weak)
            .done()
    });
    let export = metadata.export_cache.as_ref();
    let export = export.map(|it| object().flag("Value", it.value).done());
    object()
        .flag(ignore_cache, metadata.ignore_cache)
        .optional(
            "description",
            (!metadata.description.is_empty()).then_some(description),
        )
        .optional(export_cache, export)
        .optional("caps", (!metadata.caps.is_empty()).then_some(caps))
        .optional(progress_group, group)
        .optional(linux_resources, resources)
        .done()
}

pub(super) fn source(source: &pb::Source, style: Style) -> Value {
    let locations = map(&source.locations, |it| {
        object().list("locations", &it.locations, location).done()
    });
    object()
        .optional(
            "locations",
            (!source.locations.is_empty()).then_some(locations),
        )
        .list("infos", &source.infos, |info| source_info(info, style))
        .done()
}

pub(super) fn source_info(info: &pb::SourceInfo, style: Style) -> Value {
    let definition = info.definition.as_ref();
    object()
        .text("filename", &info.filename)
        .text("data", &base64(&info.data))
        .optional(
            "definition",
            definition.map(|it| self::definition(it, style)),
        )
        .text("language", &info.language)
        .done()
}

fn location(location: &pb::Location) -> Value {
    let position = |position: &pb::Position| {
        let line = object().number("line", position.line.into());
        line.number("character", position.character.into()).done()
    };
    object()
        .number("sourceIndex", location.source_index.into())
        .list("ranges", &location.ranges, |range| {
            object()
                .optional("start", range.start.as_ref().map(position))
                .optional("end", range.end.as_ref().map(position))
                .done()
        })
        .done()
}

pub(super) fn definition(definition: &pb::Definition, style: Style) -> Value {
    let metadata = map(&definition.metadata, |it| style.metadata(it));
    let out: Object = object()
        .list("def", &definition.def, |bytes| Value::Text(base64(bytes)))
        .optional(
            "metadata",
            (!definition.metadata.is_empty()).then_some(metadata),
        );
    out.optional(
        "Source",
        definition.source.as_ref().map(|it| source(it, style)),
    )
    .done()
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
