//! Metadata, source maps and nested definitions.

use super::map;
use super::value::{Style, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_protocol::pb;

/// What is said of an op.
pub(super) fn op_metadata(metadata: &pb::OpMetadata, style: Style) -> Value {
    let resources = metadata.linux_resources.as_ref().map(|it| {
        style
            .object()
            .long("memory", it.memory)
            .long("memorySwap", it.memory_swap)
            .unsigned_long("cpuShares", it.cpu_shares)
            .unsigned_long("cpuPeriod", it.cpu_period)
            .long("cpuQuota", it.cpu_quota)
            .text("cpusetCpus", &it.cpuset_cpus)
            .text("cpusetMems", &it.cpuset_mems)
            .done()
    });
    let description = map(&metadata.description, |text| text.as_str().into());
    let caps = map(&metadata.caps, |on| Value::Bool(*on));
    let group = metadata.progress_group.as_ref().map(|it| {
        style
            .object()
            .text("id", &it.id)
            .text("name", &it.name)
            .flag("weak", it.weak)
            .done()
    });
    let export = metadata.export_cache.as_ref();
    let export = export.map(|it| style.object().flag("Value", it.value).done());
    style
        .object()
        .flag(
            style.name("ignoreCache", "ignore_cache"),
            metadata.ignore_cache,
        )
        .optional(
            "description",
            (!metadata.description.is_empty()).then_some(description),
        )
        .optional(style.name("exportCache", "export_cache"), export)
        .optional("caps", (!metadata.caps.is_empty()).then_some(caps))
        .optional(style.name("progressGroup", "progress_group"), group)
        .optional(style.name("linuxResources", "linux_resources"), resources)
        .done()
}

pub(super) fn source(source: &pb::Source, style: Style) -> Value {
    let locations = map(&source.locations, |it| self::locations(it, style));
    style
        .object()
        .optional(
            "locations",
            (!source.locations.is_empty()).then_some(locations),
        )
        .list("infos", &source.infos, |info| source_info(info, style))
        .done()
}

/// The places of one op.
pub(super) fn locations(locations: &pb::Locations, style: Style) -> Value {
    let places = style.object();
    places
        .list("locations", &locations.locations, |it| location(it, style))
        .done()
}

pub(super) fn source_info(info: &pb::SourceInfo, style: Style) -> Value {
    let definition = info.definition.as_ref();
    style
        .object()
        .text("filename", &info.filename)
        .text("data", &base64(&info.data))
        .optional(
            "definition",
            definition.map(|it| self::definition(it, style)),
        )
        .text("language", &info.language)
        .done()
}

fn location(location: &pb::Location, style: Style) -> Value {
    let position = |position: &pb::Position| {
        let line = style.object().number("line", position.line.into());
        line.number("character", position.character.into()).done()
    };
    style
        .object()
        .number("sourceIndex", location.source_index.into())
        .list("ranges", &location.ranges, |range| {
            style
                .object()
                .optional("start", range.start.as_ref().map(position))
                .optional("end", range.end.as_ref().map(position))
                .done()
        })
        .done()
}

pub(super) fn definition(definition: &pb::Definition, style: Style) -> Value {
    let metadata = map(&definition.metadata, |it| op_metadata(it, style));
    let out = style
        .object()
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
