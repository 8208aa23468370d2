//! The cache keys of images, by upstream's formulas.

use oci_spec::image::{Digest, Platform};
use serde::Serialize;

use crate::attribute::{go_json, sha256};
use crate::error::SourceError;

/// The first key: this manifest or index, on this platform.
pub(super) fn manifest_key(
    digest: &Digest,
    platform: &Platform,
    layer_limit: Option<usize>,
) -> Result<String, SourceError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Key<'a> {
        digest: &'a str,
        #[serde(rename = "OS")]
        os: String,
        arch: String,
        #[serde(skip_serializing_if = "str::is_empty")]
        variant: &'a str,
        #[serde(rename = "OSVersion", skip_serializing_if = "str::is_empty")]
        os_version: &'a str,
        #[serde(rename = "OSFeatures", skip_serializing_if = "<[String]>::is_empty")]
        os_features: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
    }
    let key = Key {
        digest: digest.as_ref(),
        os: platform.os().to_string(),
        arch: platform.architecture().to_string(),
        variant: platform.variant().as_deref().unwrap_or_default(),
        os_version: platform.os_version().as_deref().unwrap_or_default(),
        os_features: platform.os_features().as_deref().unwrap_or_default(),
        limit: layer_limit,
    };
    Ok(sha256(go_json(&key)?.as_bytes()))
}

/// The second key: these layers, whatever image they come in. `None` for an image
/// without layers, or with another kind of `rootfs`.
pub(super) fn layers_key(rootfs: &str, diff_ids: &[Digest]) -> Option<String> {
    if rootfs != "layers" {
        return None;
    }
    let (first, rest) = diff_ids.split_first()?;
    let chain = rest.iter().fold(first.to_string(), |chain, diff_id| {
        sha256(format!("{chain} {diff_id}").as_bytes())
    });
    Some(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_hashes_a_document_of_the_fields_in_order()
    -> Result<(), Box<dyn std::error::Error>> {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse()?;
        let platform = kiln_llb::platform::platform("linux", "arm64", "v8");
        let document = format!(
            r#"{{"Digest":"{digest}","OS":"linux","Arch":"arm64","Variant":"v8","Limit":2}}"#
        );
        assert_eq!(
            manifest_key(&digest, &platform, Some(2))?,
            sha256(document.as_bytes())
        );
        let plain = kiln_llb::platform::platform("linux", "amd64", "");
        let document = format!(r#"{{"Digest":"{digest}","OS":"linux","Arch":"amd64"}}"#);
        assert_eq!(
            manifest_key(&digest, &plain, None)?,
            sha256(document.as_bytes())
        );
        Ok(())
    }

    #[test]
    fn the_second_key_is_the_chain_id() -> Result<(), Box<dyn std::error::Error>> {
        let [a, b]: [Digest; 2] = [
            format!("sha256:{}", "a".repeat(64)).parse()?,
            format!("sha256:{}", "b".repeat(64)).parse()?,
        ];
        assert_eq!(layers_key("layers", &[]), None);
        assert_eq!(
            layers_key("layers", std::slice::from_ref(&a)),
            Some(a.to_string())
        );
        assert_eq!(
            layers_key("layers", &[a.clone(), b.clone()]),
            Some(sha256(format!("{a} {b}").as_bytes()))
        );
        Ok(())
    }
}
