//! The repositories inside a repository.

use std::collections::BTreeMap;

use kiln_llb::git_url::is_git_transport;
use kiln_llb::redact;

use super::error::GitError;
use super::repository::Repository;

/// The mode of a directory that is another repository.
const GITLINK: &str = "160000";

/// A repository inside another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submodule {
    /// Its directory.
    pub(super) path: String,
    /// Its address.
    pub(super) remote: String,
    /// The commit wanted.
    pub(super) commit: String,
}

/// What `.gitmodules` says of one.
#[derive(Debug, Default)]
struct Entry {
    path: String,
    url: String,
    update: String,
}

/// The submodules of a commit of `remote`, as far as they lie in `subdir` or it lies in them.
pub(super) async fn of(
    repository: &Repository<'_>,
    commit: &str,
    remote: &str,
    subdir: &str,
) -> Result<Vec<Submodule>, GitError> {
    let run = repository
        .run("ls-tree")
        .args(["-r", "-z", "--full-tree", commit]);
    let tree = run.must("list the files of").await?;
    let mut links = links(&String::from_utf8_lossy(&tree));
    links.retain(|(path, _)| is_within(path, subdir) || is_within(subdir, path));
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let blob = format!("{commit}:.gitmodules");
    let run = repository
        .run("config")
        .args(["--blob", &blob, "--null", "--list"]);
    let entries = match run.outcome().await? {
        Ok(listing) => entries(&String::from_utf8_lossy(&listing)),
        Err(_) => Vec::new(),
    };
    let wrong = |path: &str, reason: String| GitError::Submodule {
        remote: redact::credentials(remote),
        path: path.to_owned(),
        reason,
    };
    let mut found = Vec::new();
    for (path, commit) in links {
        let Some(entry) = entries
            .iter()
            .find(|it| it.path == path && !it.url.is_empty())
        else {
            return Err(wrong(&path, "No url found for it in .gitmodules".into()));
        };
        if entry.update == "none" {
            continue;
        }
        let address = absolute(remote, &entry.url).filter(|it| is_allowed(it));
        let Some(address) = address else {
            let shown = redact::credentials(&entry.url);
            let reason =
                format!("transport of {shown:?} not allowed, only http, https, ssh and git are");
            return Err(wrong(&path, reason));
        };
        found.push(Submodule {
            path,
            remote: address,
            commit,
        });
    }
    Ok(found)
}

/// Paths and commits.
fn links(tree: &str) -> Vec<(String, String)> {
    let links = tree.split('\0').filter_map(|line| {
        let (about, path) = line.split_once('\t')?;
        let mut about = about.split(' ');
        let (mode, _kind, commit) = (about.next()?, about.next()?, about.next()?);
        (mode == GITLINK).then(|| (path.to_owned(), commit.to_owned()))
    });
    links.collect()
}

/// From the lines of `git config --null --list`, whose names are `submodule.NAME.KEY`.
fn entries(listing: &str) -> Vec<Entry> {
    let mut entries: BTreeMap<&str, Entry> = BTreeMap::new();
    for line in listing.split('\0') {
        let (key, value) = line.split_once('\n').unwrap_or((line, ""));
        let Some((name, key)) = key
            .strip_prefix("submodule.")
            .and_then(|it| it.rsplit_once('.'))
        else {
            continue;
        };
        let entry = entries.entry(name).or_default();
        match key {
            "path" => value.trim_end_matches('/').clone_into(&mut entry.path),
            "url" => value.clone_into(&mut entry.url),
            "update" => value.clone_into(&mut entry.update),
            _ => {}
        }
    }
    entries.into_values().collect()
}

/// Whether a path is another one, or below it. Everything is below the empty one.
fn is_within(path: &str, above: &str) -> bool {
    match path.strip_prefix(above) {
        Some(rest) => above.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// An address that begins with `./` or `../` counts from that of the repository around it.
fn absolute(remote: &str, url: &str) -> Option<String> {
    if !url.starts_with("./") && !url.starts_with("../") {
        return Some(url.to_owned());
    }
    let (mut base, mut rest) = (remote.trim_end_matches('/'), url);
    let mut separator = '/';
    loop {
        if let Some(after) = rest.strip_prefix("../") {
            let end = base.rfind(['/', ':'])?;
            separator = if base[end..].starts_with(':') {
                ':'
            } else {
                '/'
            };
            (base, rest) = (&base[..end], after);
        } else if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else {
            let rest = rest.trim_end_matches('/');
            return Some(format!("{base}{separator}{rest}"));
        }
    }
}

fn is_allowed(address: &str) -> bool {
    let has_host = match address.split_once("://") {
        Some((_, rest)) => !rest.starts_with('/') && !rest.is_empty(),
        None => true,
    };
    has_host && is_git_transport(address) && !address.contains(|c: char| c.is_control())
}
