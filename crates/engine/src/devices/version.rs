//! Versions of the standard: a file has to name one that has everything it uses.

use super::spec::{Edits, Spec};

/// All that there are.
const VERSIONS: [&str; 10] = [
    "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
];

/// What is wrong with the version of a file, if anything is.
pub(super) fn problem(spec: &Spec) -> Option<String> {
    let written = spec.cdi_version.as_str();
    let plain = written.strip_prefix('v').unwrap_or(written);
    let rank = |version: &str| VERSIONS.iter().position(|it| *it == version);
    let Some(own) = rank(plain) else {
        return Some(format!(
            "invalid version {written:?} (known: {})",
            VERSIONS.join(", ")
        ));
    };
    let (needed, what) = needs(spec)?;
    (rank(needed) > Some(own)).then(|| {
        format!("the spec version must be at least v{needed}, because of {what}; it is {written}")
    })
}

/// The version that a file needs, and for what; `None` if any will do.
fn needs(spec: &Spec) -> Option<(&'static str, &'static str)> {
    let any = |uses: &dyn Fn(&Edits) -> bool| spec.all_edits().any(|(_, edits)| uses(edits));
    let rdt = |uses: &dyn Fn(&super::spec::IntelRdt) -> bool| {
        any(&|edits| edits.intel_rdt.as_ref().is_some_and(uses))
    };
    let class = spec.kind.split_once('/').map_or("", |(_, class)| class);
    let devices = &spec.devices;
    let annotated =
        !spec.annotations.is_empty() || devices.iter().any(|it| !it.annotations.is_empty());
    let has_digits = devices
        .iter()
        .any(|it| it.name.starts_with(|first: char| first.is_ascii_digit()));
    let has_host_paths = any(&|edits| edits.device_nodes.iter().any(|it| !it.host_path.is_empty()));
    let rules = [
        (any(&|it| !it.net_devices.is_empty()), "1.1.0", "netDevices"),
        (
            rdt(&|it| !it.schemata.is_empty() || it.enable_monitoring),
            "1.1.0",
            "intelRdt",
        ),
        (rdt(&|_| true), "0.7.0", "intelRdt"),
        (
            any(&|it| !it.additional_gids.is_empty()),
            "0.7.0",
            "additionalGids",
        ),
        (annotated, "0.6.0", "annotations"),
        (class.contains('.'), "0.6.0", "the dot in kind"),
        (
            has_digits,
            "0.5.0",
            "a device name that begins with a digit",
        ),
        (has_host_paths, "0.5.0", "hostPath of deviceNodes"),
        (
            any(&|edits| edits.mounts.iter().any(|it| !it.r#type.is_empty())),
            "0.4.0",
            "type of mounts",
        ),
    ];
    let used = rules.into_iter().find(|(is_used, ..)| *is_used);
    used.map(|(_, version, what)| (version, what))
}
