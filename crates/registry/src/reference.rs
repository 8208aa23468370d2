//! Image names: `[domain/]path[:tag][@digest]`, and Docker's short forms of them.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const MAX_PATH_LENGTH: usize = 255;
const MAX_TAG_LENGTH: usize = 128;

/// Why a text is not an image name. The texts are those every Docker tool prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository has capital letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// 64 hexadecimal characters look like an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// The repository's path is longer than registries accept.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// The digest's algorithm is not one that can be verified.
    #[error("unsupported digest algorithm")]
    DigestAlgorithm,
    /// The digest has the wrong number of characters for its algorithm.
    #[error("invalid checksum digest length")]
    DigestLength,
    /// The digest's characters are wrong.
    #[error("invalid checksum digest format")]
    DigestFormat,
    /// A tag that does not follow the grammar.
    #[error("invalid tag format")]
    Tag,
}

/// A complete image name: always with a domain, never with a short form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads a name as users write it: `alpine` is `docker.io/library/alpine`.
    ///
    /// No tag is added; see [`Reference::with_default_tag`].
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(is_lower_hex) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(remote.to_owned()));
        }
        parse_remainder(domain, &remainder)
    }

    /// The registry's name as in the reference, such as `docker.io` or `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository inside its registry, such as `library/alpine`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if the name has one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the name has one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path without tag and digest: `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The form people type: `alpine:3.20` for `docker.io/library/alpine:3.20`.
    pub fn familiar(&self) -> String {
        let mut text = match self.domain.as_str() {
            DEFAULT_DOMAIN => match self.path.strip_prefix(OFFICIAL_PREFIX) {
                Some(name) if !name.contains('/') => name.to_owned(),
                _ => self.path.clone(),
            },
            _ => self.name(),
        };
        self.push_suffix(&mut text);
        text
    }

    /// Adds the tag `latest` where the name has neither tag nor digest.
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// The same name with another tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Self {
            tag: Some(tag.to_owned()),
            ..self.clone()
        })
    }

    /// The same name and tag, pinned to a digest.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Domain and path alone.
    pub fn without_version(&self) -> Self {
        Self {
            tag: None,
            digest: None,
            ..self.clone()
        }
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_ref());
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_suffix(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Splits a name into its registry and the rest, filling in Docker Hub's defaults.
fn split_domain(text: &str) -> (String, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (
            DEFAULT_DOMAIN.to_owned(),
            format!("{OFFICIAL_PREFIX}{text}"),
        );
    };
    let is_domain = first == "localhost"
        || first == LEGACY_DEFAULT_DOMAIN
        || first.contains(['.', ':'])
        || first.chars().any(char::is_uppercase);
    let (domain, remainder) = match (is_domain, first) {
        (true, LEGACY_DEFAULT_DOMAIN) => (DEFAULT_DOMAIN, rest),
        (true, _) => (first, rest),
        (false, _) => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL_PREFIX}{remainder}"));
    }
    (domain.to_owned(), remainder.to_owned())
}

fn parse_remainder(domain: String, remainder: &str) -> Result<Reference, ReferenceError> {
    let (named, digest) = match remainder.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (remainder, None),
    };
    let (path, tag) = match named.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (named, None),
    };
    if !is_domain(&domain) || !is_path(path) || !tag.is_none_or(is_tag) {
        return Err(ReferenceError::Format);
    }
    let digest = digest.map(parse_digest).transpose()?;
    if path.len() > MAX_PATH_LENGTH {
        return Err(ReferenceError::TooLong);
    }
    Ok(Reference {
        domain,
        path: path.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    let (algorithm, encoded) = text.split_once(':').ok_or(ReferenceError::Format)?;
    let algorithm_is_word = algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    if !algorithm_is_word || encoded.len() < 32 || !encoded.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ReferenceError::Format);
    }
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(ReferenceError::DigestAlgorithm),
    };
    if encoded.len() != length {
        return Err(ReferenceError::DigestLength);
    }
    if !encoded.bytes().all(is_lower_hex) {
        return Err(ReferenceError::DigestFormat);
    }
    Digest::from_str(text).map_err(|_| ReferenceError::DigestFormat)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// `host[:port]`, host being dot-separated labels or an IPv6 address in brackets.
fn is_domain(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let is_address =
            !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

/// Lowercase letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.starts_with(is_alphanumeric) || !text.ends_with(is_alphanumeric) {
        return false;
    }
    text.split(is_alphanumeric).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    })
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=MAX_TAG_LENGTH).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}
