//! The keys of `type=azblob`.

use reqwest::Url;

use super::keys::{Keys, given_url, wrong};
use super::s3::upload_parallelism;
use super::{Layout, OptionError, Secret};

const CONTAINER: &str = "buildkit-cache";

/// A container of Azure's Blob Storage.
#[derive(Clone, Debug, PartialEq)]
pub struct AzblobOptions {
    /// `account_url`.
    pub account_url: Url,
    /// `account_name`; the first part of the URL's host if absent.
    pub account_name: String,
    /// `container`; made by an export if it is not there.
    pub container: String,
    /// `prefix`, `blobs_prefix`, `manifests_prefix`, `name`.
    pub layout: Layout,
    /// `secret_access_key`; the daemon's own credentials if absent.
    pub key: Option<Secret>,
    /// `upload_parallelism`.
    pub upload_parallelism: usize,
}

pub(super) fn parse(keys: &mut Keys) -> Result<AzblobOptions, OptionError> {
    let url = "account_url";
    let text = keys.required_or(url, " or $BUILDKIT_AZURE_STORAGE_ACCOUNT_URL")?;
    let account_url = given_url(url, &text)?;
    let host = account_url.host_str().unwrap_or_default();
    let first = host.split('.').next().unwrap_or_default().to_owned();
    let account_name = keys.filled("account_name").unwrap_or(first);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    for (key, value) in [("account_name", &account_name)] {
        if value.is_empty() || !value.bytes().all(is_word) {
            return Err(wrong(key, value, "is no name of a storage account"));
        }
    }
    let container = keys.filled("container");
    let container = container.unwrap_or_else(|| CONTAINER.to_owned());
    if !container.bytes().all(|byte| is_word(byte) || byte == b'$') {
        return Err(wrong("container", container, "is no name of a container"));
    }
    Ok(AzblobOptions {
        account_url,
        account_name,
        container,
        layout: Layout::folders(keys)?,
        key: keys.secret("secret_access_key")?,
        upload_parallelism: upload_parallelism(keys)?,
    })
}
