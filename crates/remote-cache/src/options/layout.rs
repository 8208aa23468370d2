//! How a cache is laid out in a bucket.

use super::OptionError;
use super::keys::{Keys, wrong};

/// Object stores allow names of this many bytes.
const LONGEST: usize = 1024;
/// A digest as it stands in a key.
const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Which objects make a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What the keys of blobs begin with; a digest follows.
    pub blobs: String,
    /// What the keys of manifests begin with; a name follows.
    pub manifests: String,
    /// `name`: the manifests to write, or to read.
    pub names: Vec<String>,
}

impl Layout {
    /// `prefix`, `blobs_prefix` and `manifests_prefix` one after the other, as they are.
    pub(super) fn concatenated(keys: &mut Keys) -> Result<Self, OptionError> {
        let prefix = keys.text("prefix").unwrap_or_default();
        let part = |given: Option<String>, default: &str| {
            format!("{prefix}{}", given.as_deref().unwrap_or(default))
        };
        let layout = Self {
            blobs: part(keys.text("blobs_prefix"), "blobs/"),
            manifests: part(keys.text("manifests_prefix"), "manifests/"),
            names: names(keys)?,
        };
        layout.checked()
    }

    /// The same as folders: joined by slashes, of which none is doubled.
    pub(super) fn folders(keys: &mut Keys) -> Result<Self, OptionError> {
        let prefix = keys.text("prefix").unwrap_or_default();
        let part = |given: Option<String>, default: &str| {
            let given = given.as_deref().unwrap_or(default);
            let parts = prefix.split('/').chain(given.split('/'));
            let parts = parts.filter(|part| !part.is_empty() && *part != ".");
            parts.flat_map(|part| [part, "/"]).collect::<String>()
        };
        let layout = Self {
            blobs: part(keys.text("blobs_prefix"), "blobs"),
            manifests: part(keys.text("manifests_prefix"), "manifests"),
            names: names(keys)?,
        };
        layout.checked()
    }

    pub(crate) fn blob(&self, digest: &str) -> String {
        format!("{}{digest}", self.blobs)
    }

    pub(crate) fn manifest(&self, name: &str) -> String {
        format!("{}{name}", self.manifests)
    }

    /// Stores and their clients disagree about keys with empty or relative parts.
    fn checked(self) -> Result<Self, OptionError> {
        check("blobs_prefix", &self.blobs, DIGEST)?;
        for name in &self.names {
            check("name", &self.manifests, name)?;
        }
        Ok(self)
    }
}

/// `name`: one, or several with semicolons between them.
pub(super) fn names(keys: &mut Keys) -> Result<Vec<String>, OptionError> {
    let Some(text) = keys.text("name") else {
        return Ok(vec!["buildkit".to_owned()]);
    };
    let names: Vec<String> = text.split(';').map(str::to_owned).collect();
    match names.iter().any(String::is_empty) {
        true => Err(wrong("name", text, "has an empty name")),
        false => Ok(names),
    }
}

fn check(key: &str, prefix: &str, rest: &str) -> Result<(), OptionError> {
    let object = format!("{prefix}{rest}");
    let is_odd = |part: &str| part.is_empty() || part == "." || part == "..";
    let reason = if object.len() > LONGEST {
        "is too long for the key of an object"
    } else if object.split('/').any(is_odd) {
        "gives an object key with an empty or relative part: \
         no slash at its beginning or end, and no two in a row"
    } else if object.chars().any(char::is_control) {
        "has control characters"
    } else {
        return Ok(());
    };
    Err(wrong(key, object, reason))
}
