//! `attest:sbom`: which scanner lists what is in a result.

use std::collections::BTreeMap;

use kiln_llb::git_url::parse_bool;
use kiln_llb::reference;

use super::{OptionError, fields};

/// What scans where nothing else is named.
const DEFAULT_GENERATOR: &str = "docker/buildkit-syft-scanner:stable-1";

/// The scanner of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SbomOptions {
    /// Full name of its image.
    pub generator: String,
    /// What it is told beside where the files are, as `BUILDKIT_SCAN_<NAME>`.
    pub parameters: BTreeMap<String, String>,
}

impl SbomOptions {
    /// Reads `attest:sbom` or `build-arg:BUILDKIT_ATTEST_SBOM`; `None` if nobody asks for a scan.
    pub fn from_attrs(attrs: &BTreeMap<String, String>) -> Result<Option<Self>, OptionError> {
        let is_asked = |key: &str| {
            let kind = key.strip_prefix("attest:");
            let kind = kind.or_else(|| key.strip_prefix("build-arg:BUILDKIT_ATTEST_"));
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case("sbom"))
        };
        let Some((_, value)) = attrs.iter().find(|(key, _)| is_asked(key)) else {
            return Ok(None);
        };
        let mut parameters = BTreeMap::new();
        for field in fields(value).into_iter().filter(|field| !field.is_empty()) {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            parameters.insert(key.to_owned(), value.to_owned());
        }
        if parameters
            .remove("disabled")
            .and_then(|value| parse_bool(&value))
            == Some(true)
        {
            return Ok(None);
        }
        let generator = parameters.remove("generator");
        let generator = generator.unwrap_or_else(|| DEFAULT_GENERATOR.to_owned());
        let generator = reference::normalize(&generator)
            .map_err(|source| OptionError::SbomGenerator { generator, source })?;
        Ok(Some(Self {
            generator,
            parameters,
        }))
    }
}
