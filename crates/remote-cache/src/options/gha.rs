//! The keys of `type=gha`.

use std::time::Duration;

use reqwest::Url;

use super::keys::{Keys, wrong};
use super::s3::upload_parallelism;
use super::{OptionError, Secret};

/// How long one request may be repeated.
const TIMEOUT: Duration = Duration::from_mins(10);
/// The host of the second protocol, for clients that do not say which one they mean.
const SECOND: &str = "results-receiver.actions.githubusercontent.com";

/// The cache service of GitHub Actions.
#[derive(Clone, Debug, PartialEq)]
pub struct GhaOptions {
    /// `url_v2` or `url`.
    pub url: Url,
    /// `version`, or what the URLs tell.
    pub protocol: GhaProtocol,
    /// `token`, which also says which scopes may be read and written.
    pub token: Secret,
    /// `scope`: caches of another scope are other caches.
    pub scope: String,
    /// `timeout`.
    pub timeout: Duration,
    /// `repository` with `ghtoken`: what exists is listed by GitHub's API and not asked for blob by blob.
    pub repository: Option<(String, Secret)>,
    /// `upload_parallelism`.
    pub upload_parallelism: usize,
}

/// What the service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GhaProtocol {
    /// Its own.
    V1,
    /// Twirp, with blobs on Azure.
    V2,
}

pub(super) fn parse(keys: &mut Keys) -> Result<GhaOptions, OptionError> {
    let asked = match keys.text("version").as_deref() {
        None => None,
        Some("1") => Some(GhaProtocol::V1),
        Some("2") => Some(GhaProtocol::V2),
        Some(other) => return Err(wrong("version", other, "is neither 1 nor 2")),
    };
    let second = keys.url("url_v2")?;
    let first = keys.url("url")?;
    let (url, protocol) = match (asked, second, first) {
        (None | Some(GhaProtocol::V2), Some(url), _) => (url, GhaProtocol::V2),
        (asked, _, Some(url)) => {
            let is_second = url.host_str().is_some_and(|host| host == SECOND);
            let told = if is_second {
                GhaProtocol::V2
            } else {
                GhaProtocol::V1
            };
            (url, asked.unwrap_or(told))
        }
        _ => return Err(keys.missing("url", " or $ACTIONS_CACHE_URL or $ACTIONS_RESULTS_URL")),
    };
    let token = match keys.secret("token")? {
        Some(token) => token,
        None => return Err(keys.missing("token", " or $ACTIONS_RUNTIME_TOKEN")),
    };
    let scope = keys.text("scope").unwrap_or_else(|| "buildkit".to_owned());
    // The second protocol takes a list of keys in one string.
    if scope.len() > 200 || scope.contains([',', '#']) || scope.chars().any(char::is_control) {
        return Err(wrong(
            "scope",
            scope,
            "is too long for a key, or has a comma or # in it",
        ));
    }
    Ok(GhaOptions {
        url,
        protocol,
        token,
        scope,
        timeout: keys.span("timeout")?.unwrap_or(TIMEOUT),
        repository: repository(keys)?,
        upload_parallelism: upload_parallelism(keys)?,
    })
}

fn repository(keys: &mut Keys) -> Result<Option<(String, Secret)>, OptionError> {
    let name = keys.filled("repository");
    let token = keys.secret("ghtoken")?;
    let Some(name) = name else {
        return Ok(None);
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let mut parts = name.split('/');
    let two = [parts.next(), parts.next()];
    let is_name = |part: &Option<&str>| {
        part.is_some_and(|part| !matches!(part, "" | "." | "..") && part.bytes().all(is_plain))
    };
    if !two.iter().all(is_name) || parts.next().is_some() {
        return Err(wrong("repository", name, "is no owner/name"));
    }
    Ok(token.map(|token| (name, token)))
}
