//! `ADD` from elsewhere: URLs and git repositories.

use oci_spec::image::{Digest, DigestAlgorithm};

use super::copy::{Kind, Transfer};
use super::dispatch::COMMAND;
use super::error::{LowerError, LowerErrorKind};
use kiln_llb::build::{self, Constraints, GitOptions, HttpOptions, State};
use kiln_llb::git_url::{GitRef, GitUrlError};
use kiln_llb::path;

/// Whether it is a URL of the web, be it of a repository or not.
pub(crate) fn has_http_scheme(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// Whether it is downloaded or cloned rather than read from the context.
pub(crate) fn is_remote(source: &str) -> bool {
    has_http_scheme(source) || GitRef::parse(source).is_ok()
}

/// A git repository, if `source` is one. `github.com/…` is a path here.
pub(crate) fn git_ref(source: &str) -> Result<Option<GitRef>, LowerError> {
    match GitRef::parse(source) {
        Ok(reference) if !reference.like_local_path => Ok(Some(reference)),
        Err(error @ GitUrlError::Query(_)) => Err(LowerErrorKind::from(error).into()),
        _ => Ok(None),
    }
}

/// The copy out of a remote source; none if `source` is a path.
pub(crate) fn fetch(
    transfer: &mut Transfer<'_>,
    source: &str,
    name: &str,
) -> Result<Option<build::Copy>, LowerError> {
    if let Some(reference) = git_ref(source)? {
        if transfer.kind != Kind::Add {
            return Err(LowerErrorKind::CopyGit.into());
        }
        return Ok(Some(clone(transfer, reference, name)?));
    }
    if !has_http_scheme(source) {
        return Ok(None);
    }
    if transfer.kind != Kind::Add {
        return Err(LowerErrorKind::CopyUrl.into());
    }
    Ok(Some(download(transfer, source, name)?))
}

fn clone(
    transfer: &mut Transfer<'_>,
    reference: GitRef,
    name: &str,
) -> Result<build::Copy, LowerError> {
    match (transfer.keep_git_dir, reference.keep_git_dir) {
        (Some(flag), Some(url)) if flag != url => return Err(LowerErrorKind::KeepGitDir.into()),
        (_, Some(url)) => transfer.keep_git_dir = Some(url),
        _ => {}
    }
    if !reference.checksum.is_empty() {
        if !transfer.checksum.is_empty() && transfer.checksum != reference.checksum {
            return Err(LowerErrorKind::ChecksumMismatch {
                flag: transfer.checksum.clone(),
                url: reference.checksum,
            }
            .into());
        }
        transfer.checksum = reference.checksum;
    }
    let options = GitOptions {
        reference: reference.reference,
        subdir: reference.subdir,
        keep_git_dir: transfer.keep_git_dir == Some(true),
        checksum: transfer.checksum.clone(),
        skip_submodules: reference.submodules == Some(false),
        fetch_by_commit: reference.fetch_by_commit,
        constraints: Constraints::named(name),
        ..Default::default()
    };
    Ok(build::Copy::new(
        State::git(&reference.remote, options),
        "/",
        "",
    ))
}

fn download(transfer: &Transfer<'_>, url: &str, name: &str) -> Result<build::Copy, LowerError> {
    let filename = filename(url);
    let options = HttpOptions {
        checksum: checksum(&transfer.checksum)?,
        filename: filename.clone(),
        constraints: Constraints::named(name).describe(COMMAND, ""),
        ..Default::default()
    };
    let mut copy = build::Copy::new(State::http(url, options), filename, "");
    copy.unpack = transfer.unpack == Some(true);
    Ok(copy)
}

/// Reads a checksum, if there is one.
pub(crate) fn checksum(text: &str) -> Result<Option<String>, LowerError> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<Digest>() {
        Ok(digest) => match digest.algorithm() {
            DigestAlgorithm::Other(name) => {
                Err(LowerErrorKind::ChecksumAlgorithm(name.to_string()).into())
            }
            _ => Ok(Some(text.into())),
        },
        Err(_) => Err(LowerErrorKind::Checksum(text.into()).into()),
    }
}

/// The last element of a URL's path.
pub(crate) fn filename(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    let path = kiln_llb::git_url::unescape(path);
    match path::base(&path) {
        "." | "/" => "__unnamed__".into(),
        base => base.into(),
    }
}
