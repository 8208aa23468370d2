//! The keys of `type=gcs`.

use reqwest::Url;

use super::keys::{Keys, wrong};
use super::s3::{check_bucket, upload_parallelism};
use super::{Layout, OptionError};

/// A bucket of Google Cloud Storage.
#[derive(Clone, Debug, PartialEq)]
pub struct GcsOptions {
    /// `bucket`.
    pub bucket: String,
    /// `prefix`, `blobs_prefix`, `manifests_prefix`, `name`.
    pub layout: Layout,
    /// `endpoint_url`; Google's if absent.
    pub endpoint: Option<Url>,
    /// `anonymous`: no credentials are shown, whatever the daemon has.
    pub anonymous: bool,
    /// `upload_parallelism`.
    pub upload_parallelism: usize,
}

pub(super) fn parse(keys: &mut Keys) -> Result<GcsOptions, OptionError> {
    let bucket = keys.required("bucket")?;
    check_bucket(&bucket)?;
    let layout = Layout::concatenated(keys)?;
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@+=,".contains(&byte))
    };
    for (key, text) in [
        ("blobs_prefix", &layout.blobs),
        ("manifests_prefix", &layout.manifests),
    ] {
        if !is_plain(text) {
            return Err(wrong(key, text, "has characters that URLs do not have"));
        }
    }
    if let Some(name) = layout.names.iter().find(|name| !is_plain(name)) {
        return Err(wrong("name", name, "has characters that URLs do not have"));
    }
    Ok(GcsOptions {
        bucket,
        layout,
        endpoint: keys.url("endpoint_url")?,
        anonymous: keys.switch("anonymous")?.unwrap_or(false),
        upload_parallelism: upload_parallelism(keys)?,
    })
}
