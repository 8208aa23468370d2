//! Platforms: parsing, normal form, printing, and which platform can run which.

use kiln_protocol::pb;
use oci_spec::image::{Arch, Os, Platform};
use std::fmt::Write as _;

/// A platform specifier that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{specifier:?}: {reason}: invalid argument; write it like \"linux/amd64\" or \"linux/arm64/v8\""
)]
pub struct PlatformError {
    specifier: String,
    reason: String,
}

const KNOWN_OS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
const KNOWN_ARCH: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// Builds a platform of plain parts; an empty variant is none.
pub fn platform(os: &str, architecture: &str, variant: &str) -> Platform {
    let mut result = Platform::default();
    result.set_os(Os::from(os));
    result.set_architecture(arch_from(architecture));
    set_variant(&mut result, variant);
    result
}

/// The platform of this machine, in normal form.
pub fn host() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        other => other,
    };
    normalize(&platform("linux", architecture, ""))
}

/// Reads `os[(version+feature…)][/architecture[/variant]]`, or an architecture alone.
pub fn parse(specifier: &str) -> Result<Platform, PlatformError> {
    let error = |reason: &str| PlatformError {
        specifier: specifier.into(),
        reason: reason.into(),
    };
    if specifier.contains('*') {
        return Err(error("wildcards not yet supported"));
    }
    let parts: Vec<&str> = specifier.split('/').collect();
    if parts.len() > 3 {
        return Err(error("cannot parse platform specifier"));
    }
    let mut result = parse_os(parts[0]).map_err(|reason| error(&reason))?;
    let word = |part: &&str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
    };
    if !parts[1..].iter().all(word) {
        return Err(error(
            "its parts may only have letters, digits, '_', '.' and '-'",
        ));
    }
    match parts[..] {
        [_] if KNOWN_OS.contains(&result.os().to_string().as_str()) => {
            let host = host();
            result.set_architecture(host.architecture().clone());
            result.set_variant(host.variant().clone().filter(|it| it != "v7"));
        }
        [only] => {
            let (architecture, variant) = normal_arch(only, "");
            if !KNOWN_ARCH.contains(&architecture.as_str()) {
                return Err(error("unknown operating system or architecture"));
            }
            result = platform("linux", &architecture, default_arm(&architecture, &variant));
        }
        [_, architecture] => {
            let (architecture, variant) = normal_arch(architecture, "");
            result.set_architecture(arch_from(&architecture));
            set_variant(&mut result, default_arm(&architecture, &variant));
        }
        [_, architecture, variant] => {
            let (architecture, mut variant) = normal_arch(architecture, variant);
            if architecture == "arm64" && variant.is_empty() {
                variant = "v8".into();
            }
            result.set_architecture(arch_from(&architecture));
            set_variant(&mut result, &variant);
        }
        _ => return Err(error("cannot parse platform specifier")),
    }
    Ok(result)
}

/// `arm` means `arm/v7`; written without a variant it stays without one.
fn default_arm<'a>(architecture: &str, variant: &'a str) -> &'a str {
    if architecture == "arm" && variant == "v7" {
        ""
    } else {
        variant
    }
}

fn parse_os(part: &str) -> Result<Platform, String> {
    let (name, options) = match part.split_once('(') {
        Some((name, rest)) => {
            let options = rest
                .strip_suffix(')')
                .ok_or("the parenthesis of its OS part is not closed")?;
            (name, options)
        }
        None => (part, ""),
    };
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    {
        return Err(format!("{part:?} is no operating system"));
    }
    let mut result = Platform::default();
    result.set_os(Os::from(normal_os(name).as_str()));
    result.set_architecture(Arch::Other(String::new()));
    let mut options = options.split('+').map(decode_option);
    let version = options.next().transpose()?.filter(|it| !it.is_empty());
    let features = options.collect::<Result<Vec<_>, _>>()?;
    result.set_os_version(version);
    if !features.is_empty() {
        result.set_os_features(Some(features));
    }
    Ok(result)
}

fn decode_option(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = code.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.ok_or_else(|| format!("{text:?} has an invalid escape"))?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8"))
}

fn encode_option(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "%+()/".contains(c) {
            let _ = write!(out, "%{:02X}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// Prints `os/architecture[/variant]`.
pub fn format(platform: &Platform) -> String {
    join(&platform.os().to_string(), platform)
}

/// Prints like [`format`](fn@format), with the OS version and features: `os(version+feature)/architecture`.
pub fn format_all(platform: &Platform) -> String {
    let mut os = platform.os().to_string();
    let version = platform.os_version().as_deref().unwrap_or_default();
    let mut features = platform.os_features().clone().unwrap_or_default();
    features.sort();
    features.dedup();
    if !os.is_empty() && (!version.is_empty() || !features.is_empty()) {
        let features: String = features
            .iter()
            .map(|it| format!("+{}", encode_option(it)))
            .collect();
        let _ = write!(os, "({}{features})", encode_option(version));
    }
    join(&os, platform)
}

fn join(os: &str, platform: &Platform) -> String {
    if os.is_empty() {
        return "unknown".into();
    }
    let architecture = platform.architecture().to_string();
    let variant = platform.variant().as_deref().unwrap_or_default();
    let parts = [os, architecture.as_str(), variant];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

/// The normal form, in which equal platforms are equal.
pub fn normalize(platform: &Platform) -> Platform {
    let mut result = platform.clone();
    result.set_os(Os::from(normal_os(&platform.os().to_string()).as_str()));
    let variant = platform.variant().as_deref().unwrap_or_default();
    let (architecture, variant) = normal_arch(&platform.architecture().to_string(), variant);
    result.set_architecture(arch_from(&architecture));
    set_variant(&mut result, &variant);
    if let Some(features) = result.os_features().clone() {
        let mut features = features;
        features.sort();
        features.dedup();
        result.set_os_features(Some(features).filter(|it| !it.is_empty()));
    }
    result.set_os_version(result.os_version().clone().filter(|it| !it.is_empty()));
    result
}

fn normal_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "" => "linux".into(),
        "macos" => "darwin".into(),
        other => other.into(),
    }
}

fn normal_arch(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (
        architecture.to_ascii_lowercase(),
        variant.to_ascii_lowercase(),
    );
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", other) => ("arm64", other),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.into(), variant.into())
}

fn arch_from(name: &str) -> Arch {
    Arch::from(name)
}

fn set_variant(platform: &mut Platform, variant: &str) {
    platform.set_variant(Some(variant.to_string()).filter(|it| !it.is_empty()));
}

/// Whether `candidate` is exactly what `wanted` asks for, in normal form.
pub fn matches_strictly(wanted: &Platform, candidate: &Platform) -> bool {
    let (wanted, candidate) = (normalize(wanted), normalize(candidate));
    let offered = wanted.os_features().clone().unwrap_or_default();
    let needed = candidate.os_features().clone().unwrap_or_default();
    wanted.os() == candidate.os()
        && wanted.architecture() == candidate.architecture()
        && wanted.variant() == candidate.variant()
        && needed.iter().all(|feature| offered.contains(feature))
}

/// How well an image of `candidate` serves a machine of `wanted`: 0 is an exact match, larger is a
/// compatible but older variant, none cannot run there.
pub fn preference(wanted: &Platform, candidate: &Platform) -> Option<usize> {
    compatible(wanted)
        .iter()
        .position(|it| matches_strictly(it, candidate))
}

/// Whether an image of `candidate` runs on a machine of `wanted`.
pub fn matches(wanted: &Platform, candidate: &Platform) -> bool {
    preference(wanted, candidate).is_some()
}

/// The platforms whose images run on `platform`, best first.
pub fn compatible(platform: &Platform) -> Vec<Platform> {
    let platform = normalize(platform);
    let variant = platform.variant().clone().unwrap_or_default();
    let with = |architecture: &str, variant: &str| {
        let mut it = platform.clone();
        it.set_architecture(arch_from(architecture));
        set_variant(&mut it, variant);
        it
    };
    let older = |architecture: &str, lowest: u32| -> Vec<Platform> {
        let version = variant.trim_start_matches('v').parse::<u32>().unwrap_or(0);
        let versions = (lowest..version).rev();
        versions
            .map(|it| with(architecture, &format!("v{it}")))
            .collect()
    };
    match platform.architecture().to_string().as_str() {
        "amd64" => {
            let mut all = vec![platform.clone()];
            all.extend(older("amd64", 1));
            all.push(with("386", ""));
            all
        }
        "arm" => {
            let mut all = vec![platform.clone()];
            all.extend(older("arm", 5));
            all
        }
        "arm64" => {
            let mut all: Vec<_> = arm64_versions(&variant)
                .iter()
                .map(|it| with("arm64", it))
                .collect();
            if !all.is_empty() {
                all.extend(["v8", "v7", "v6", "v5"].map(|it| with("arm", it)));
            }
            all
        }
        _ => vec![platform],
    }
}

/// Every arm64 variant that a CPU of `variant` implements: v9.n includes v8.(n+5).
fn arm64_versions(variant: &str) -> Vec<String> {
    let variant = if variant.is_empty() { "v8" } else { variant };
    let Some((major, minor)) = parse_version(variant) else {
        return Vec::new();
    };
    let steps = |major: u32, highest: u32| {
        let name = move |minor| {
            if minor == 0 {
                format!("v{major}")
            } else {
                format!("v{major}.{minor}")
            }
        };
        (0..=highest).rev().map(name)
    };
    match (major, minor) {
        (8, 0..=9) => steps(8, minor).collect(),
        (9, 0..=7) => steps(9, minor)
            .chain(steps(8, (minor + 5).min(9)))
            .collect(),
        _ => Vec::new(),
    }
}

fn parse_version(variant: &str) -> Option<(u32, u32)> {
    let version = variant.strip_prefix('v')?;
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The wire form.
pub fn to_pb(platform: &Platform) -> pb::Platform {
    pb::Platform {
        architecture: platform.architecture().to_string(),
        os: platform.os().to_string(),
        variant: platform.variant().clone().unwrap_or_default(),
        os_version: platform.os_version().clone().unwrap_or_default(),
        os_features: platform.os_features().clone().unwrap_or_default(),
    }
}

/// Reads the wire form.
pub fn from_pb(wire: &pb::Platform) -> Platform {
    let mut result = platform(&wire.os, &wire.architecture, &wire.variant);
    result.set_os_version(Some(wire.os_version.clone()).filter(|it| !it.is_empty()));
    result.set_os_features(Some(wire.os_features.clone()).filter(|it| !it.is_empty()));
    result
}
