//! Reading option values.

use super::{
    CONTEXT, CacheImport, ContextOptions, DEFAULT_FILENAME, NoCache, OptionError, Options,
    SbomOptions,
};
use crate::lint::LintConfig;
use kiln_llb::build::ResolveMode;
use kiln_llb::caps::Caps;
use kiln_llb::git_url::parse_bool;
use kiln_llb::{pb, platform};
use oci_spec::image::Platform;
use std::collections::BTreeMap;
use std::net::IpAddr;

type Attrs = BTreeMap<String, String>;

const BUILD_ARG: &str = "build-arg:";

pub(super) fn options(attrs: &Attrs) -> Result<Options, OptionError> {
    refuse_removed(attrs)?;
    let text = |key: &str| attrs.get(key).cloned().unwrap_or_default();
    let arg = |name: &str| {
        attrs
            .get(&format!("{BUILD_ARG}{name}"))
            .filter(|it| !it.is_empty())
    };
    let platforms = platforms(&text("platform"))?;
    let lint = attrs.get("build-arg:BUILDKIT_DOCKERFILE_CHECK");
    let lint = lint.map(|it| LintConfig::parse(it)).transpose();
    Ok(Options {
        target: text("target"),
        build_args: with_prefix(attrs, BUILD_ARG),
        labels: with_prefix(attrs, "label:"),
        multi_platform: multi_platform(
            arg("BUILDKIT_MULTI_PLATFORM").unwrap_or(&text("multi-platform")),
            &platforms,
        )?,
        platforms,
        target_platform: None,
        build_platforms: vec![platform::host()],
        no_cache: no_cache(attrs.get("no-cache")),
        resolve_mode: resolve_mode(&text("image-resolve-mode"))?,
        extra_hosts: extra_hosts(&text("add-hosts"))?,
        hostname: arg("BUILDKIT_SANDBOX_HOSTNAME")
            .cloned()
            .unwrap_or_else(|| text("hostname")),
        shm_size: shm_size(&text("shm-size"))?,
        ulimits: ulimits(&text("ulimit"))?,
        cgroup_parent: text("cgroup-parent"),
        linux_resources: linux_resources(attrs)?,
        network: network(&text("force-network-mode"))?,
        devices: Vec::new(),
        lint: lint.map_err(OptionError::Check)?,
        cache_namespace: text("build-arg:BUILDKIT_CACHE_MOUNT_NS"),
        cache_imports: cache_imports(&text("cache-imports"), &text("cache-from"))?,
        context: context(attrs),
        sbom: SbomOptions::from_attrs(attrs)?,
        request: text("requestid"),
        caps: Caps::all(),
    })
}

fn refuse_removed(attrs: &Attrs) -> Result<(), OptionError> {
    if attrs
        .get("override-copy-image")
        .is_some_and(|it| !it.is_empty())
    {
        return Err(OptionError::Removed("override-copy-image"));
    }
    let disabled = attrs.get("build-arg:BUILDKIT_DISABLE_FILEOP");
    if disabled.and_then(|it| parse_bool(it)) == Some(true) {
        return Err(OptionError::Removed("BUILDKIT_DISABLE_FILEOP"));
    }
    Ok(())
}

fn with_prefix(attrs: &Attrs, prefix: &str) -> BTreeMap<String, String> {
    let entries = attrs.iter();
    entries
        .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.into(), value.clone())))
        .collect()
}

fn context(attrs: &Attrs) -> ContextOptions {
    let key = attrs.get("contextkey").map_or(CONTEXT, String::as_str);
    let keep_git = attrs.get("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    ContextOptions {
        session: String::new(),
        local_sessions: with_prefix(attrs, "local-sessionid:"),
        filename: attrs
            .get("filename")
            .cloned()
            .unwrap_or_else(|| DEFAULT_FILENAME.into()),
        dockerfile_key: attrs.get("dockerfilekey").cloned(),
        remote: attrs.get(key).cloned().filter(|it| !it.is_empty()),
        subdir: attrs.get("contextsubdir").cloned(),
        keep_git_dir: keep_git.and_then(|it| parse_bool(it)) == Some(true),
        inputs: BTreeMap::new(),
        named: with_prefix(attrs, "context:"),
        input_metadata: with_prefix(attrs, "input-metadata:"),
        shared_keys: with_prefix(attrs, "sharedkey:localdir:"),
    }
}

fn platforms(value: &str) -> Result<Vec<Platform>, OptionError> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let parse = |value: &str| match platform::parse(value) {
        Ok(parsed) => Ok(platform::normalize(&parsed)),
        Err(source) => Err(OptionError::Platform {
            value: value.into(),
            source,
        }),
    };
    value.split(',').map(parse).collect()
}

fn multi_platform(value: &str, platforms: &[Platform]) -> Result<bool, OptionError> {
    let many = platforms.len() > 1;
    if value.is_empty() {
        return Ok(many);
    }
    match parse_bool(value) {
        None => Err(OptionError::MultiPlatform(value.into())),
        Some(false) if many => Err(OptionError::ManyPlatforms),
        Some(on) => Ok(on),
    }
}

fn no_cache(value: Option<&String>) -> NoCache {
    match value.map(String::as_str) {
        None => NoCache::Nothing,
        Some("") => NoCache::All,
        Some(stages) => NoCache::Stages(stages.split(',').map(Into::into).collect()),
    }
}

fn resolve_mode(value: &str) -> Result<ResolveMode, OptionError> {
    match value {
        "" | "default" => Ok(ResolveMode::Default),
        "pull" => Ok(ResolveMode::ForcePull),
        "local" => Ok(ResolveMode::PreferLocal),
        other => Err(OptionError::ResolveMode(other.into())),
    }
}

fn network(value: &str) -> Result<pb::NetMode, OptionError> {
    match value {
        "" | "sandbox" => Ok(pb::NetMode::Unset),
        "host" => Ok(pb::NetMode::Host),
        "none" => Ok(pb::NetMode::None),
        other => Err(OptionError::Network(other.into())),
    }
}

/// Splits a line of comma-separated values, which double quotes may hold together.
pub fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut chars) = (false, line.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => push(&mut fields, chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => push(&mut fields, Some(c)),
        }
    }
    fields
}

fn push(fields: &mut [String], c: Option<char>) {
    if let Some(last) = fields.last_mut() {
        last.extend(c);
    }
}

fn extra_hosts(value: &str) -> Result<Vec<(String, String)>, OptionError> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let parse = |field: String| {
        let lower = field.to_lowercase();
        let Some((host, ip)) = lower.split_once('=') else {
            return Err(OptionError::Hosts(format!(
                "invalid key-value pair {field}, write it as name=address"
            )));
        };
        match ip.parse::<IpAddr>() {
            Ok(address) => Ok((host.to_string(), address.to_canonical().to_string())),
            Err(_) => Err(OptionError::Hosts(format!("failed to parse IP {ip}"))),
        }
    };
    fields(value).into_iter().map(parse).collect()
}

fn shm_size(value: &str) -> Result<i64, OptionError> {
    if value.is_empty() {
        return Ok(0);
    }
    value
        .parse()
        .map_err(|_| OptionError::ShmSize(value.into()))
}

const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn ulimits(value: &str) -> Result<Vec<pb::Ulimit>, OptionError> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let parse = |field: String| ulimit(&field).map_err(OptionError::Ulimit);
    fields(value).into_iter().map(parse).collect()
}

fn ulimit(field: &str) -> Result<pb::Ulimit, String> {
    let (name, limits) = field
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit argument: {field}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| format!("{text:?} is not a number"))
    };
    let (soft, hard) = match limits.split(':').collect::<Vec<_>>()[..] {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => {
            return Err(format!(
                "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        let soft = if soft == -1 {
            "soft: -1 (unlimited), hard:".into()
        } else {
            format!("{soft} >")
        };
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} {hard}"
        ));
    }
    Ok(pb::Ulimit {
        name: name.into(),
        soft,
        hard,
    })
}

fn linux_resources(attrs: &Attrs) -> Result<Option<pb::LinuxResources>, OptionError> {
    let number = |key: &'static str, reason: &'static str, valid: fn(i64) -> bool| {
        let Some(value) = attrs.get(key).filter(|it| !it.is_empty()) else {
            return Ok(0);
        };
        match value.parse::<i64>() {
            Ok(number) if valid(number) => Ok(number),
            _ => Err(OptionError::Resource {
                key,
                value: value.clone(),
                reason,
            }),
        }
    };
    let positive = |key| number(key, "must be > 0", |it| it > 0);
    let list = |key: &'static str| {
        let value = attrs.get(key).cloned().unwrap_or_default();
        if value.is_empty() || is_cpu_list(&value) {
            return Ok(value);
        }
        Err(OptionError::Resource {
            key,
            value,
            reason: "must be a list of numbers and ranges such as \"0-2,7\"",
        })
    };
    let resources = pb::LinuxResources {
        memory: positive("memory")?,
        memory_swap: number("memswap", "must be -1 (unlimited) or > 0", |it| {
            it == -1 || it > 0
        })?,
        cpu_shares: positive("cpushares")? as u64,
        cpu_period: positive("cpuperiod")? as u64,
        cpu_quota: positive("cpuquota")?,
        cpuset_cpus: list("cpusetcpus")?,
        cpuset_mems: list("cpusetmems")?,
    };
    Ok(Some(resources).filter(|it| *it != pb::LinuxResources::default()))
}

fn is_cpu_list(value: &str) -> bool {
    value.split(',').all(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            (Ok(first), Ok(last)) => first <= last,
            _ => false,
        }
    })
}

fn cache_imports(json: &str, references: &str) -> Result<Vec<CacheImport>, OptionError> {
    let mut imports: Vec<CacheImport> = Vec::new();
    if !json.is_empty() {
        imports = serde_json::from_str(json).map_err(|error| OptionError::CacheImports {
            value: json.into(),
            reason: error.to_string(),
        })?;
    }
    let references = references.split(',').filter(|it| !it.is_empty());
    imports.extend(references.map(|reference| CacheImport {
        kind: "registry".into(),
        attrs: BTreeMap::from([("ref".into(), reference.into())]),
    }));
    Ok(imports)
}
