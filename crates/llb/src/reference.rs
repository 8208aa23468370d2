//! Image names in full: registry, repository, tag or digest.

/// A name that no registry could have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Capitals outside of the registry's name.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// What looks like an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// Anything else.
    #[error("invalid reference format: {0}")]
    Format(&'static str),
}

/// A parsed image name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Registry host, with port.
    pub domain: String,
    /// Repository.
    pub path: String,
    /// Tag.
    pub tag: Option<String>,
    /// Digest.
    pub digest: Option<String>,
}

/// Completes `busybox` to `docker.io/library/busybox:latest`.
pub fn normalize(name: &str) -> Result<String, ReferenceError> {
    Ok(parse(name)?.with_default_tag().to_string())
}

/// Parses a name, filling in the default registry but no tag.
pub fn parse(name: &str) -> Result<Reference, ReferenceError> {
    let is_identifier =
        name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_identifier {
        return Err(ReferenceError::Identifier(name.into()));
    }
    let (domain, rest) = split_domain(name);
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (rest.as_str(), None),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    if path.chars().any(char::is_uppercase) {
        return Err(ReferenceError::Uppercase(path.into()));
    }
    if path.is_empty() || !path.split('/').all(is_component) {
        return Err(ReferenceError::Format(
            "the repository name has characters or separators that are not allowed",
        ));
    }
    if !is_domain(&domain) {
        return Err(ReferenceError::Format(
            "the registry name has characters that are not allowed",
        ));
    }
    if !tag.is_none_or(is_tag) {
        return Err(ReferenceError::Format("the tag is not valid"));
    }
    if !digest.is_none_or(is_digest) {
        return Err(ReferenceError::Format("the digest is not valid"));
    }
    Ok(Reference {
        domain,
        path: path.into(),
        tag: tag.map(Into::into),
        digest: digest.map(Into::into),
    })
}

impl Reference {
    /// Adds `latest` if there is neither a tag nor a digest.
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".into());
        }
        self
    }

    /// The name with this digest.
    pub fn with_digest(mut self, digest: &str) -> Self {
        self.digest = Some(digest.into());
        self
    }

    /// Registry and repository.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The short form that people write: no default registry.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        match short.strip_prefix("library/") {
            Some(official) if !self.path["library/".len()..].contains('/') => official.into(),
            _ => short.into(),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// The first part is a registry only if it looks like a host.
fn split_domain(name: &str) -> (String, String) {
    let (domain, rest) = match name.split_once('/') {
        Some(("index.docker.io", rest)) => ("docker.io", rest),
        Some((first, rest)) if looks_like_host(first) => (first, rest),
        _ => ("docker.io", name),
    };
    let official = domain == "docker.io" && !rest.contains('/');
    let rest = if official {
        format!("library/{rest}")
    } else {
        rest.into()
    };
    (domain.into(), rest)
}

fn looks_like_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.chars().any(char::is_uppercase)
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let inner = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        inner && edge(label.chars().next()) && edge(label.chars().last())
    };
    let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let valid = match address {
        Some(ip) => !ip.is_empty() && ip.chars().all(|c| c.is_ascii_hexdigit() || c == ':'),
        None => host.split('.').all(label),
    };
    valid && port.is_none_or(digits)
}

/// Lower-case words, separated by one dot, one or two underscores, or any number of dashes.
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(|b| word(*b)) || !bytes.last().is_some_and(|b| word(*b)) {
        return false;
    }
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators
        .filter(|it| !it.is_empty())
        .all(|it| matches!(it, "." | "_" | "__") || it.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = tag.chars().next().is_some_and(word);
    first && tag.len() <= 128 && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_digest(digest: &str) -> bool {
    digest.parse::<oci_spec::image::Digest>().is_ok()
        && digest
            .split_once(':')
            .is_some_and(|(_, hex)| hex.len() >= 32)
}
