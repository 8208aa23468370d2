//! The keys of `type=s3`.

use std::time::Duration;

use reqwest::Url;

use super::keys::{Keys, wrong};
use super::{Layout, OptionError, Secret};

/// How long a blob may lie before it is touched again.
const TOUCH_REFRESH: Duration = Duration::from_hours(24);
const UPLOAD_PARALLELISM: usize = 4;
pub(super) const MOST_UPLOADS: usize = 256;
const MOST_ATTEMPTS: usize = 100;

/// A bucket of Amazon's, or of a server that speaks the same protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct S3Options {
    /// `bucket`.
    pub bucket: String,
    /// `region`.
    pub region: String,
    /// `prefix`, `blobs_prefix`, `manifests_prefix`, `name`.
    pub layout: Layout,
    /// `endpoint_url`; Amazon's if absent.
    pub endpoint: Option<Url>,
    /// `use_path_style`: the bucket is a part of the path, not of the host's name. For an endpoint only.
    pub use_path_style: bool,
    /// `access_key_id`, `secret_access_key`, `session_token`; the daemon's own credentials if absent.
    pub login: Option<S3Login>,
    /// `retry_max_attempts`.
    pub attempts: Option<usize>,
    /// `touch_refresh`: blobs that were last written longer ago are touched, so that rules by age spare them.
    pub touch_refresh: Duration,
    /// `upload_parallelism`.
    pub upload_parallelism: usize,
}

/// Credentials that were given as keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Login {
    /// `access_key_id`.
    pub key_id: Secret,
    /// `secret_access_key`.
    pub key: Secret,
    /// `session_token`.
    pub token: Option<Secret>,
}

pub(super) fn parse(keys: &mut Keys) -> Result<S3Options, OptionError> {
    let bucket = keys.required_or("bucket", " or $AWS_BUCKET")?;
    check_bucket(&bucket)?;
    let region = keys.required_or("region", " or $AWS_REGION")?;
    if !region.bytes().all(is_plain) {
        return Err(wrong("region", region, "is no region such as eu-central-1"));
    }
    // Both modes back off when the store is busy. The header that the other key leaves out of signatures is never sent.
    if let Some(mode) = keys.text("retry_mode")
        && !matches!(mode.as_str(), "standard" | "adaptive")
    {
        return Err(wrong(
            "retry_mode",
            mode,
            "is neither standard nor adaptive",
        ));
    }
    keys.switch("disable_accept_encoding")?;
    Ok(S3Options {
        bucket,
        region,
        layout: Layout::concatenated(keys)?,
        endpoint: keys.url("endpoint_url")?,
        use_path_style: keys.switch("use_path_style")?.unwrap_or(false),
        login: login(keys)?,
        attempts: keys.count("retry_max_attempts", MOST_ATTEMPTS)?,
        touch_refresh: keys.span("touch_refresh")?.unwrap_or(TOUCH_REFRESH),
        upload_parallelism: upload_parallelism(keys)?,
    })
}

pub(super) fn upload_parallelism(keys: &mut Keys) -> Result<usize, OptionError> {
    let given = keys.count("upload_parallelism", MOST_UPLOADS)?;
    Ok(given.unwrap_or(UPLOAD_PARALLELISM))
}

/// A bucket becomes a part of URLs and host names.
pub(super) fn check_bucket(bucket: &str) -> Result<(), OptionError> {
    match bucket.bytes().all(is_plain) {
        true => Ok(()),
        false => Err(wrong("bucket", bucket, "is no name of a bucket")),
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn login(keys: &mut Keys) -> Result<Option<S3Login>, OptionError> {
    let key_id = keys.secret("access_key_id")?;
    let key = keys.secret("secret_access_key")?;
    let token = keys.secret("session_token")?;
    let alone = |key: &str, other: &str| OptionError::Secret {
        key: key.to_owned(),
        reason: format!("is of no use without {other}"),
    };
    match (key_id, key, token) {
        (Some(key_id), Some(key), token) => Ok(Some(S3Login { key_id, key, token })),
        (None, None, None) => Ok(None),
        (Some(_), None, _) => Err(alone("access_key_id", "secret_access_key")),
        (None, Some(_), _) => Err(alone("secret_access_key", "access_key_id")),
        (None, None, Some(_)) => Err(alone("session_token", "access_key_id")),
    }
}
