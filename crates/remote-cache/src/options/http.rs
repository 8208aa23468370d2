//! The keys of `type=http`.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::keys::{Keys, given_url, wrong};
use super::layout::names;
use super::s3::upload_parallelism;
use super::{OptionError, Secret};

/// A web server that keeps what is put there, as Bazel's remote caches do.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpOptions {
    /// `url`, which ends with a slash: blobs lie in `cas/` below it, manifests in `ac/`.
    pub url: Url,
    /// `name`.
    pub names: Vec<String>,
    /// `token`, or `username` and `password`.
    pub login: HttpLogin,
    /// `header.NAME`.
    pub headers: HeaderMap,
    /// `upload_parallelism`.
    pub upload_parallelism: usize,
}

/// What is shown to a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpLogin {
    /// Nothing.
    Anonymous,
    /// A bearer token.
    Token(Secret),
    /// A user with a password.
    Basic {
        /// `username`.
        username: Secret,
        /// `password`.
        password: Secret,
    },
}

impl HttpOptions {
    pub(super) fn shown_url(&self) -> String {
        self.url.to_string()
    }
}

pub(super) fn parse(keys: &mut Keys) -> Result<HttpOptions, OptionError> {
    let text = keys.required("url")?;
    let mut url = given_url("url", &text)?;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(HttpOptions {
        url,
        names: names(keys)?,
        login: login(keys)?,
        headers: headers(keys)?,
        upload_parallelism: upload_parallelism(keys)?,
    })
}

fn login(keys: &mut Keys) -> Result<HttpLogin, OptionError> {
    let refused = |key: &str, reason: &str| OptionError::Secret {
        key: key.to_owned(),
        reason: reason.to_owned(),
    };
    let token = keys.secret("token")?;
    let username = keys.secret("username")?;
    let password = keys.secret("password")?;
    match (token, username, password) {
        (None, None, None) => Ok(HttpLogin::Anonymous),
        (Some(token), None, None) => Ok(HttpLogin::Token(token)),
        (None, Some(username), Some(password)) => Ok(HttpLogin::Basic { username, password }),
        (Some(_), _, _) => Err(refused("token", "cannot go with username and password")),
        (None, Some(_), None) => Err(refused("username", "is of no use without password")),
        (None, None, Some(_)) => Err(refused("password", "is of no use without username")),
    }
}

fn headers(keys: &mut Keys) -> Result<HeaderMap, OptionError> {
    let mut headers = HeaderMap::new();
    for (name, value) in keys.prefixed("header.") {
        let key = format!("header.{name}");
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| wrong(&key, name, "is no name of a header"))?;
        // What it says may be a secret.
        let mut value = HeaderValue::from_str(&value).map_err(|_| OptionError::Secret {
            key,
            reason: "has characters that no header has".to_owned(),
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}
