//! Keys that are taken one by one; what is left in the end is unknown.

use std::str::FromStr;
use std::time::Duration;

use kiln_registry::Reference;
use kiln_solver::ExportMode;
use reqwest::Url;

use super::{Attributes, Destination, OptionError, Secret};
use crate::build::Format;

/// Which way a cache goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Export,
    Import,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Import => "import",
        }
    }

    fn types(self) -> &'static str {
        match self {
            Self::Export => "local, registry, inline, s3, azblob, gcs, gha, http",
            Self::Import => "local, registry, s3, azblob, gcs, gha, http",
        }
    }
}

pub(super) struct Keys {
    direction: Direction,
    pub(super) kind: String,
    rest: Attributes,
    known: Vec<&'static str>,
}

impl Keys {
    pub(super) fn new(direction: Direction, kind: &str, attributes: &Attributes) -> Self {
        Self {
            direction,
            kind: kind.to_owned(),
            rest: attributes.clone(),
            known: Vec::new(),
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        self.rest.remove(key)
    }

    /// A text that says something.
    pub(super) fn filled(&mut self, key: &'static str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<String, OptionError> {
        self.required_or(key, "")
    }

    /// The same, where something else would do: ` or $VARIABLE`.
    pub(super) fn required_or(
        &mut self,
        key: &'static str,
        instead: &'static str,
    ) -> Result<String, OptionError> {
        self.filled(key).ok_or_else(|| self.missing(key, instead))
    }

    pub(super) fn missing(&self, key: &'static str, instead: &'static str) -> OptionError {
        OptionError::Missing {
            direction: self.direction.name(),
            kind: self.kind.clone(),
            key,
            instead,
        }
    }

    /// A secret, which goes into a header sooner or later.
    pub(super) fn secret(&mut self, key: &'static str) -> Result<Option<Secret>, OptionError> {
        self.filled(key)
            .map(|text| {
                Secret::new(text).map_err(|reason| OptionError::Secret {
                    key: key.to_owned(),
                    reason: reason.to_owned(),
                })
            })
            .transpose()
    }

    pub(super) fn switch(&mut self, key: &'static str) -> Result<Option<bool>, OptionError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match text.as_str() {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(wrong(key, text, "is neither true nor false")),
        }
    }

    /// A whole number from 1 to `most`.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        most: usize,
    ) -> Result<Option<usize>, OptionError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(
                key,
                text,
                format!("is not a positive integer of at most {most}"),
            )),
        }
    }

    /// A span of time such as `24h` or `1h30m`.
    pub(super) fn span(&mut self, key: &'static str) -> Result<Option<Duration>, OptionError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let span = match text.as_str() {
            "0" => Ok(jiff::SignedDuration::ZERO),
            text => jiff::SignedDuration::from_str(text),
        };
        let span = span.ok().and_then(|span| Duration::try_from(span).ok());
        match span {
            Some(span) => Ok(Some(span)),
            None => Err(wrong(key, text, "is no duration such as 30m or 24h")),
        }
    }

    /// The address of a web server, without anything secret in it.
    pub(super) fn url(&mut self, key: &'static str) -> Result<Option<Url>, OptionError> {
        let Some(text) = self.filled(key) else {
            return Ok(None);
        };
        given_url(key, &text).map(Some)
    }

    /// The keys that begin with a prefix, without it.
    pub(super) fn prefixed(&mut self, prefix: &'static str) -> Vec<(String, String)> {
        self.known.push(prefix);
        let (mine, rest) = std::mem::take(&mut self.rest)
            .into_iter()
            .partition(|(key, _)| key.len() > prefix.len() && key.starts_with(prefix));
        self.rest = rest;
        let mine: Attributes = mine;
        mine.into_iter()
            .map(|(key, value)| (key[prefix.len()..].to_owned(), value))
            .collect()
    }

    pub(super) fn reference(&mut self) -> Result<Reference, OptionError> {
        let text = self.required("ref")?;
        Reference::parse(&text)
            .map(Reference::with_default_tag)
            .map_err(|error| wrong("ref", text, error.to_string()))
    }

    /// How much is exported. An inline cache has the layers of its image and no others, whatever is asked for.
    pub(super) fn mode(&mut self, destination: &Destination) -> Result<ExportMode, OptionError> {
        let value = self.text("mode");
        match value.as_deref() {
            None | Some("min") => Ok(ExportMode::Min),
            Some("max") if *destination == Destination::Inline => Ok(ExportMode::Min),
            Some("max") => Ok(ExportMode::Max),
            Some(other) => Err(wrong("mode", other, "is neither min nor max")),
        }
    }

    /// An image manifest, unless it is switched off or OCI media types are.
    pub(super) fn format(&mut self) -> Result<Format, OptionError> {
        let oci = self.switch("oci-mediatypes")?.unwrap_or(true);
        match (self.switch("image-manifest")?, oci) {
            (None | Some(true), true) => Ok(Format::ImageManifest),
            (Some(false), true) => Ok(Format::OciIndex),
            (None | Some(false), false) => Ok(Format::DockerList),
            (Some(true), false) => Err(OptionError::ImageManifestNeedsOci),
        }
    }

    pub(super) fn unknown_type(&self) -> OptionError {
        OptionError::UnknownType {
            direction: self.direction.name(),
            kind: self.kind.clone(),
            known: self.direction.types(),
        }
    }

    pub(super) fn finish(self) -> Result<(), OptionError> {
        let Some(key) = self.rest.keys().next() else {
            return Ok(());
        };
        let hint = self
            .known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(key, known), known))
            .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
            .min()
            .map(|(_, known)| format!("; did you mean {known:?}?"))
            .unwrap_or_default();
        Err(OptionError::UnknownKey {
            direction: self.direction.name(),
            kind: self.kind,
            key: key.clone(),
            hint,
        })
    }
}

/// A value that makes no sense.
pub(super) fn wrong(key: &str, value: impl Into<String>, reason: impl Into<String>) -> OptionError {
    OptionError::Value {
        key: key.to_owned(),
        value: value.into(),
        reason: reason.into(),
    }
}

pub(super) fn given_url(key: &str, text: &str) -> Result<Url, OptionError> {
    url(text).map_err(|reason| wrong(key, shown(text), reason))
}

fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("is no URL of a web server: it must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds credentials: there are keys for them".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment, which cannot be followed".into());
    }
    Ok(url)
}

/// A URL for an error: credentials and queries are left out, and if it is none, all of it.
fn shown(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) => {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.set_fragment(None);
            url.to_string()
        }
        Err(_) if text.contains('@') => "…".to_owned(),
        Err(_) => text.to_owned(),
    }
}
