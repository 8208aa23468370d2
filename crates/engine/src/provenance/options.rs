//! `attest:…`: which attestations a build is to come with.

use kiln_dockerfile::options::fields;
use kiln_dockerfile::suggest::{Casing, closest};
use kiln_llb::git_url::parse_bool;

use crate::error::{BuildError, Kind};
use crate::request::Attributes;

const PREFIX: &str = "attest:";
/// The form of the same in build arguments.
const ARGUMENT_PREFIX: &str = "build-arg:BUILDKIT_ATTEST_";

/// Keys of `attest:provenance`.
const KEYS: [&str; 9] = [
    "mode",
    "version",
    "builder-id",
    "filename",
    "reproducible",
    "inline-only",
    "capture-usage",
    "complete-materials",
    "disabled",
];

/// What provenance is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProvenanceOptions {
    pub(crate) mode: Mode,
    pub(crate) version: Version,
    pub(crate) builder_id: String,
    /// Name of its file in outputs of files.
    pub(crate) filename: String,
    /// Whether the user says that the build can be reproduced.
    pub(crate) reproducible: bool,
    /// Whether it goes into images only.
    pub(crate) inline_only: bool,
    /// Whether the build fails if not everything that went into it is known.
    pub(crate) complete_materials: bool,
    /// Whether it says what steps and the machine used.
    pub(crate) capture_usage: bool,
}

/// How much provenance says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing of arguments, secrets and steps.
    Min,
    /// All there is.
    Max,
}

/// Versions of the predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V02,
    V1,
}

impl Version {
    /// The predicate's type in statements.
    pub(crate) fn predicate_type(self) -> &'static str {
        match self {
            Self::V02 => "https://slsa.dev/provenance/v0.2",
            Self::V1 => "https://slsa.dev/provenance/v1",
        }
    }
}

impl Default for ProvenanceOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Max,
            version: Version::V1,
            builder_id: String::new(),
            filename: "provenance.json".into(),
            reproducible: false,
            inline_only: false,
            complete_materials: false,
            capture_usage: false,
        }
    }
}

impl ProvenanceOptions {
    /// What a build record holds: everything, under the name that the client gives the builder.
    pub(crate) fn for_history(asked: Option<&Self>) -> Self {
        Self {
            builder_id: asked.map_or_else(String::new, |asked| asked.builder_id.clone()),
            capture_usage: true,
            ..Self::default()
        }
    }
}

/// Reads the attestations asked for; `None` means no provenance.
pub(crate) fn parse(options: &Attributes) -> Result<Option<ProvenanceOptions>, BuildError> {
    let mut provenance = None;
    for (key, value) in options {
        let kind = key
            .strip_prefix(PREFIX)
            .or_else(|| key.strip_prefix(ARGUMENT_PREFIX));
        match kind.map(str::to_lowercase).as_deref() {
            None => {}
            Some("provenance") => provenance = parse_provenance(value)?,
            // The frontend has to do with it.
            Some("sbom") => {}
            Some(other) => return Err(input(format!("unknown attestation type {other:?}"))),
        }
    }
    Ok(provenance)
}

fn pairs(value: &str) -> Vec<(String, String)> {
    let given = fields(value).into_iter().filter(|field| !field.is_empty());
    let pair = |field: String| match field.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (field, String::new()),
    };
    given.map(pair).collect()
}

fn parse_provenance(value: &str) -> Result<Option<ProvenanceOptions>, BuildError> {
    let mut options = ProvenanceOptions::default();
    let mut disabled = false;
    for (key, value) in pairs(value) {
        match key.as_str() {
            "mode" => options.mode = mode(&value)?,
            "version" => options.version = version(&value)?,
            "builder-id" => options.builder_id = value,
            "filename" => options.filename = filename(value)?,
            "reproducible" => options.reproducible = switch(&key, &value)?,
            "inline-only" => options.inline_only = switch(&key, &value)?,
            "complete-materials" => options.complete_materials = switch(&key, &value)?,
            "disabled" => disabled = switch(&key, &value)?,
            "type" if value == "provenance" => {}
            "capture-usage" => options.capture_usage = switch(&key, &value)?,
            _ => return Err(unknown_key(&key)),
        }
    }
    Ok((!disabled).then_some(options))
}

fn mode(value: &str) -> Result<Mode, BuildError> {
    match value {
        "min" => Ok(Mode::Min),
        "max" | "full" => Ok(Mode::Max),
        _ => Err(input(format!("invalid mode {value:?}")).hint("use mode=min or mode=max")),
    }
}

fn version(value: &str) -> Result<Version, BuildError> {
    match value {
        "v1" => Ok(Version::V1),
        "v0.2" => Ok(Version::V02),
        _ => Err(input(format!("invalid provenance SLSA version: {value}"))
            .hint("use version=v1 or version=v0.2")),
    }
}

fn filename(value: String) -> Result<String, BuildError> {
    let last = value.trim_end_matches('/').rsplit('/').next();
    match last {
        None | Some("" | "." | "..") => {
            let message = format!("invalid filename {value:?} for attest:provenance");
            Err(input(message).hint("name a file, such as provenance.json"))
        }
        Some(_) => Ok(value),
    }
}

/// Reads a boolean in any of the field's spellings; nothing at all is true.
fn switch(key: &str, value: &str) -> Result<bool, BuildError> {
    if value.is_empty() {
        return Ok(true);
    }
    parse_bool(value).ok_or_else(|| {
        let message = format!("failed to parse {key} flag {value:?} of attest:provenance");
        input(message).hint(format!("use {key}=true or {key}=false"))
    })
}

fn unknown_key(key: &str) -> BuildError {
    let error = input(format!("unknown key {key:?} for attest:provenance"));
    match closest(key, KEYS, Casing::Sensitive) {
        Some(meant) => error.hint(format!("did you mean {meant:?}?")),
        None => error.hint(format!("the keys are {}", KEYS.join(", "))),
    }
}

fn input(message: impl Into<String>) -> BuildError {
    BuildError::new(Kind::Input, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<ProvenanceOptions>, BuildError> {
        let options = text.split(';').filter_map(|pair| pair.split_once('='));
        parse(
            &options
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    #[test]
    fn what_is_asked_for() {
        let default = ProvenanceOptions::default;
        let check = |text: &str, expected: Option<ProvenanceOptions>| {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        };
        check("target=x", None);
        check("attest:provenance=", Some(default()));
        check(
            "build-arg:BUILDKIT_ATTEST_PROVENANCE=mode=full",
            Some(default()),
        );
        check("attest:provenance=disabled=true", None);
        check("attest:sbom=", None);
        check("attest:provenance=mode=max,disabled=false", Some(default()));
        let buildx = ProvenanceOptions {
            mode: Mode::Min,
            inline_only: true,
            builder_id: "https://ci/a,b".into(),
            ..default()
        };
        check(
            "attest:provenance=type=provenance,mode=min,inline-only=true,\"builder-id=https://ci/a,b\"",
            Some(buildx),
        );
        let all = ProvenanceOptions {
            version: Version::V02,
            filename: "p.json".into(),
            reproducible: true,
            complete_materials: true,
            capture_usage: true,
            ..default()
        };
        check(
            "attest:provenance=version=v0.2,filename=p.json,reproducible=1,complete-materials=T,capture-usage=true",
            Some(all),
        );
    }

    #[test]
    fn what_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = read(text).unwrap_err();
            let text = format!("{error}; {}", error.hints.join("; "));
            assert_eq!(text, expected);
        };
        check(
            "attest:provenance=mod=min",
            "unknown key \"mod\" for attest:provenance; did you mean \"mode\"?",
        );
        check(
            "attest:provenance=mode=mid",
            "invalid mode \"mid\"; use mode=min or mode=max",
        );
        check(
            "attest:provenance=version=v2",
            "invalid provenance SLSA version: v2; use version=v1 or version=v0.2",
        );
        check(
            "attest:provenance=reproducible=yes",
            "failed to parse reproducible flag \"yes\" of attest:provenance; use reproducible=true or reproducible=false",
        );
        check(
            "attest:provenance=filename=a/..",
            "invalid filename \"a/..\" for attest:provenance; name a file, such as provenance.json",
        );
        check("attest:vex=", "unknown attestation type \"vex\"; ");
    }
}
