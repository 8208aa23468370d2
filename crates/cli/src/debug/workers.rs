//! `buildctl debug workers`: who builds.

use std::collections::BTreeMap;

use kiln_client::{Device, GcRule, Platform, Version, Worker};

use crate::arguments::WorkersArguments;
use crate::bytes_text::short_size;
use crate::context::{Context, Opened, print, print_filled, template};
use crate::failure::Failure;
use crate::table::align;
use crate::template::{Value, field, go_duration, optional};
use crate::{embedded, root};

pub(super) fn run(context: &Context, arguments: &WorkersArguments) -> Result<(), Failure> {
    let template = template(arguments.format.as_deref())?;
    let workers = root::block_on(workers(context, &arguments.filter))?;
    if let Some(template) = template {
        let workers = match workers.is_empty() {
            true => Value::Nil,
            false => Value::List(workers.iter().map(value).collect()),
        };
        return print_filled(&template, &workers);
    }
    let rows = match arguments.verbose {
        true => workers.iter().flat_map(facts).collect(),
        false => {
            let head = vec!["ID".to_owned(), "PLATFORMS".to_owned()];
            let rows = workers.iter().map(|it| vec![it.id.clone(), platforms(it)]);
            std::iter::once(head).chain(rows).collect::<Vec<_>>()
        }
    };
    print(&align(&rows))
}

async fn workers(context: &Context, filters: &[String]) -> Result<Vec<Worker>, Failure> {
    match context.open().await? {
        Opened::Daemon(client) => Ok(client.workers(filters).await?),
        Opened::Embedded(_) if !filters.is_empty() => Err(Failure::usage(
            "--filter chooses among a daemon's workers; the engine in this process has one",
        )),
        Opened::Embedded(_) => Ok(vec![embedded::worker()]),
    }
}

fn platforms(worker: &Worker) -> String {
    let names = worker.platforms.iter().map(platform_name);
    names.collect::<Vec<_>>().join(",")
}

/// The usual short form; variants that a platform has anyway are left out.
fn platform_name(platform: &Platform) -> String {
    let variant = match (platform.architecture.as_str(), platform.variant.as_str()) {
        ("arm64", "v8") | ("amd64", "v1") => "",
        (_, variant) => variant,
    };
    let parts = [&platform.os, &platform.architecture, variant];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("/")
}

/// All that is known of a worker, as rows.
fn facts(worker: &Worker) -> Vec<Vec<String>> {
    let row = |cells: &[&str]| {
        cells
            .iter()
            .map(|cell| (*cell).to_owned())
            .collect::<Vec<_>>()
    };
    let version = &worker.version;
    let software = format!(
        "{} {} {}",
        version.package, version.version, version.revision
    );
    let mut rows = vec![
        row(&["ID:", &worker.id]),
        row(&["Platforms:", &platforms(worker)]),
        row(&["BuildKit:", &software]),
    ];
    if !version.dockerfile.is_empty() {
        rows.push(row(&["Dockerfile:", &version.dockerfile]));
    }
    rows.push(row(&["Labels:"]));
    rows.extend(
        worker
            .labels
            .iter()
            .map(|(key, value)| row(&["", &format!("{key}:"), value])),
    );
    if !worker.devices.is_empty() {
        rows.push(row(&["Devices:"]));
        rows.extend(worker.devices.iter().flat_map(device_facts));
        rows.push(row(&[""]));
    }
    for (index, rule) in worker.gc_rules.iter().enumerate() {
        rows.push(row(&[&format!("GC Policy rule#{index}:")]));
        rows.extend(rule_facts(rule));
    }
    rows.push(row(&[""]));
    rows
}

fn device_facts(device: &Device) -> Vec<Vec<String>> {
    let row = |key: &str, value: String| vec![String::new(), key.to_owned(), value];
    let mut rows = vec![row("Name:", device.name.clone())];
    rows.push(match device.on_demand {
        true => row("OnDemand:", "true".into()),
        false => row("AutoAllow:", device.auto_allow.to_string()),
    });
    rows.extend(device.annotations.iter().map(|(key, value)| {
        let mut row = row("Annotations:", format!("{key}:"));
        row.push(value.clone());
        row
    }));
    rows
}

fn rule_facts(rule: &GcRule) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut add = |key: &str, value: String| rows.push(vec![String::new(), key.into(), value]);
    add("All:", rule.all.to_string());
    if !rule.filters.is_empty() {
        add("Filters:", rule.filters.join(" "));
    }
    if !rule.keep_duration.is_zero() {
        add("Keep duration:", go_duration(nanoseconds(rule)));
    }
    let sizes = [
        ("Reserved space:", rule.reserved_space),
        ("Minimum free space:", rule.min_free_space),
        ("Maximum used space:", rule.max_used_space),
    ];
    for (key, bytes) in sizes.into_iter().filter(|(_, bytes)| *bytes > 0) {
        add(key, short_size(bytes));
    }
    rows
}

fn nanoseconds(rule: &GcRule) -> i64 {
    i64::try_from(rule.keep_duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A version for templates.
pub(super) fn version_value(version: &Version) -> Value {
    Value::Struct(vec![
        field("Package", "package", version.package.as_str()),
        field("Version", "version", version.version.as_str()),
        field("Revision", "revision", version.revision.as_str()),
        optional(
            "DockerfileVersion",
            "dockerfileVersion",
            version.dockerfile.as_str(),
        ),
    ])
}

fn value(worker: &Worker) -> Value {
    let list = |items: Vec<Value>| Value::List(items);
    let devices = match worker.devices.is_empty() {
        true => Value::Nil,
        false => list(worker.devices.iter().map(device_value).collect()),
    };
    Value::Struct(vec![
        field("ID", "id", worker.id.as_str()),
        field("Labels", "labels", &worker.labels),
        field(
            "Platforms",
            "platforms",
            list(worker.platforms.iter().map(platform_value).collect()),
        ),
        field(
            "GCPolicy",
            "gcPolicy",
            list(worker.gc_rules.iter().map(rule_value).collect()),
        ),
        field(
            "BuildkitVersion",
            "buildkitVersion",
            version_value(&worker.version),
        ),
        field("CDIDevices", "cdiDevices", devices),
    ])
}

fn platform_value(platform: &Platform) -> Value {
    Value::Struct(vec![
        field(
            "Architecture",
            "architecture",
            platform.architecture.as_str(),
        ),
        field("OS", "os", platform.os.as_str()),
        optional("OSVersion", "os.version", platform.os_version.as_str()),
        optional("OSFeatures", "os.features", platform.os_features.as_slice()),
        optional("Variant", "variant", platform.variant.as_str()),
    ])
}

fn rule_value(rule: &GcRule) -> Value {
    Value::Struct(vec![
        field("All", "all", rule.all),
        field("Filter", "filter", rule.filters.as_slice()),
        field(
            "KeepDuration",
            "keepDuration",
            Value::Duration(nanoseconds(rule)),
        ),
        field("ReservedSpace", "reservedSpace", rule.reserved_space),
        field("MaxUsedSpace", "maxUsedSpace", rule.max_used_space),
        field("MinFreeSpace", "minFreeSpace", rule.min_free_space),
    ])
}

fn device_value(device: &Device) -> Value {
    let annotations: &BTreeMap<String, String> = &device.annotations;
    Value::Struct(vec![
        field("Name", "name", device.name.as_str()),
        field("AutoAllow", "autoAllow", device.auto_allow),
        field("Annotations", "annotations", annotations),
        field("OnDemand", "onDemand", device.on_demand),
    ])
}
