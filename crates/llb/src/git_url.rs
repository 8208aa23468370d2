//! URLs of git repositories: URL and scp-like spellings, with a fragment or query that selects a
//! revision and a directory.

use crate::path;

/// A git remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitUrl {
    /// `http`, `https`, `ssh` or `git`.
    pub scheme: String,
    /// Host, with port.
    pub host: String,
    /// Path on the host.
    pub path: String,
    /// Query parameters in order.
    pub query: Vec<(String, String)>,
    /// Revision of the fragment.
    pub reference: String,
    /// Directory of the fragment.
    pub subdir: String,
    /// What git itself is given: no query, no fragment.
    pub remote: String,
}

/// Why something is no git URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitUrlError {
    /// It has no protocol and is not scp-like.
    #[error("unknown protocol")]
    UnknownProtocol,
    /// Its protocol cannot serve git.
    #[error("{0}: invalid protocol")]
    InvalidProtocol(String),
    /// A query parameter makes no sense.
    #[error("{0}")]
    Query(String),
    /// It is a path or a plain URL.
    #[error("{0:?} is no git repository")]
    NotGit(String),
}

/// Whether `text` names a git transport.
pub fn is_git_transport(text: &str) -> bool {
    match protocol(text) {
        Some(scheme) => is_supported(&scheme),
        None => split_scp(text).is_some(),
    }
}

fn protocol(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let valid = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
    valid.then(|| scheme.to_ascii_lowercase())
}

fn is_supported(scheme: &str) -> bool {
    ["http", "https", "ssh", "git"].contains(&scheme)
}

/// `user@host:path`, as user, host and the rest.
fn split_scp(text: &str) -> Option<(&str, &str, &str)> {
    let (user, rest) = text.split_once('@')?;
    let (host, rest) = rest.split_once(':')?;
    let word = |text: &str, extra: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    (word(user, "-_") && word(host, "-.")).then_some((user, host, rest))
}

fn split_options(text: &str) -> (&str, &str, &str) {
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    (text, query, fragment)
}

fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (
                unescape(&key.replace('+', " ")),
                unescape(&value.replace('+', " ")),
            )
        })
        .collect()
}

/// Resolves percent escapes; invalid ones stay as they are.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl GitUrl {
    /// Reads a URL or scp-like remote.
    pub fn parse(text: &str) -> Result<Self, GitUrlError> {
        if let Some(scheme) = protocol(text) {
            if !is_supported(&scheme) {
                return Err(GitUrlError::InvalidProtocol(scheme));
            }
            return Ok(Self::from_url(scheme, text));
        }
        let (_, host, rest) = split_scp(text).ok_or(GitUrlError::UnknownProtocol)?;
        let (path, query, fragment) = split_options(rest);
        let (remote, _, _) = split_options(text);
        Ok(Self::with_options(
            Self {
                scheme: "ssh".into(),
                host: host.into(),
                path: path.into(),
                remote: remote.into(),
                query: parse_query(query),
                reference: String::new(),
                subdir: String::new(),
            },
            fragment,
        ))
    }

    fn from_url(scheme: String, text: &str) -> Self {
        let (remote, query, fragment) = split_options(text);
        let after = remote.split_once("://").map_or("", |(_, after)| after);
        let (authority, path) = after.find('/').map_or((after, ""), |at| after.split_at(at));
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let url = Self {
            scheme,
            host: host.into(),
            path: unescape(path),
            remote: remote.into(),
            query: parse_query(query),
            reference: String::new(),
            subdir: String::new(),
        };
        Self::with_options(url, fragment)
    }

    fn with_options(mut self, fragment: &str) -> Self {
        let fragment = unescape(fragment);
        let (reference, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
        self.reference = reference.into();
        self.subdir = clean_subdir(subdir);
        self
    }
}

/// A directory inside a repository: relative, without leading slash, empty for its root.
pub(crate) fn clean_subdir(subdir: &str) -> String {
    let rooted = path::join(["/", subdir]);
    rooted.strip_prefix('/').unwrap_or(&rooted).into()
}

/// What a git URL in a Dockerfile or as a build context asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitRef {
    /// The repository.
    pub remote: String,
    /// Its last path element without `.git`.
    pub short_name: String,
    /// Branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// The commit it must be.
    pub checksum: String,
    /// Directory inside the repository.
    pub subdir: String,
    /// Written like a local path, as in `github.com/foo/bar`.
    pub like_local_path: bool,
    /// Whether `.git` is kept, if said.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched, if said.
    pub submodules: Option<bool>,
    /// Modification times: `checkout` or `commit`.
    pub mtime: String,
    /// Trusts `checksum` without asking what the reference is now.
    pub fetch_by_commit: bool,
}

impl GitRef {
    /// Reads a git reference. HTTP URLs count as git only when their path ends in `.git`.
    pub fn parse(text: &str) -> Result<Self, GitUrlError> {
        let not_git = || GitUrlError::NotGit(text.into());
        if text.starts_with("./") || text.starts_with("../") {
            return Err(not_git());
        }
        let like_local_path = text.starts_with("github.com/");
        let url = if like_local_path {
            let mut url = GitUrl::parse(&format!("https://{text}"))?;
            url.remote = url.remote.trim_start_matches("https://").into();
            url
        } else {
            GitUrl::parse(text)?
        };
        let plain_http = url.scheme.starts_with("http") && !url.path.ends_with(".git");
        if plain_http && !like_local_path {
            return Err(not_git());
        }
        let last = url.remote.rsplit('/').next().unwrap_or_default();
        let mut result = Self {
            short_name: last.strip_suffix(".git").unwrap_or(last).into(),
            remote: url.remote,
            reference: url.reference,
            subdir: url.subdir,
            like_local_path,
            ..Self::default()
        };
        result.load_query(&url.query).map_err(GitUrlError::Query)?;
        Ok(result)
    }

    fn load_query(&mut self, query: &[(String, String)]) -> Result<(), String> {
        let (mut tag, mut branch) = (String::new(), String::new());
        for (index, (key, value)) in query.iter().enumerate() {
            if query[..index].iter().any(|(known, _)| known == key) {
                return Err(format!("query {key:?} has multiple values"));
            }
            let switch = ["submodules", "keep-git-dir", "fetch-by-commit"].contains(&key.as_str());
            if value.is_empty() && !switch {
                return Err(format!("query {key:?} has no value"));
            }
            match key.as_str() {
                "ref" => agree("ref", &mut self.reference, value)?,
                "subdir" => agree("subdir", &mut self.subdir, value)?,
                "tag" => tag = qualified(value, "refs/tags/"),
                "branch" => branch = qualified(value, "refs/heads/"),
                "checksum" | "commit" => self.checksum = value.clone(),
                "keep-git-dir" => self.keep_git_dir = Some(parse_switch(key, value)?),
                "submodules" => self.submodules = Some(parse_switch(key, value)?),
                "fetch-by-commit" => self.fetch_by_commit = parse_switch(key, value)?,
                "mtime" if value == "checkout" || value == "commit" => self.mtime = value.clone(),
                "mtime" => {
                    return Err(format!(
                        "invalid mtime value: {value:?} (must be \"checkout\" or \"commit\")"
                    ));
                }
                _ => return Err(format!("unexpected query {key:?}")),
            }
        }
        if !tag.is_empty() && !branch.is_empty() {
            return Err("branch conflicts with tag".into());
        }
        for named in [tag, branch].iter().filter(|it| !it.is_empty()) {
            agree("ref", &mut self.reference, named)?;
        }
        Ok(())
    }
}

fn agree(what: &str, old: &mut String, new: &str) -> Result<(), String> {
    if !old.is_empty() && old != new {
        return Err(format!("{what} conflicts: {old:?} vs {new:?}"));
    }
    *old = new.into();
    Ok(())
}

fn qualified(name: &str, prefix: &str) -> String {
    if name.starts_with(prefix) {
        name.into()
    } else {
        format!("{prefix}{name}")
    }
}

fn parse_switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "" => Ok(true),
        value => parse_bool(value).ok_or_else(|| format!("invalid {key} value: {value:?}")),
    }
}

/// Reads a boolean in any spelling the protocol's clients use.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}
