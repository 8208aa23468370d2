//! Metadata of definitions given as input: a JSON object whose values are base64.

use super::error::{LowerError, LowerErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// The image configuration in there, if there is one.
pub(crate) fn image_config(metadata: &str) -> Result<Option<Vec<u8>>, LowerError> {
    let broken = || LowerErrorKind::InputMetadata(metadata.into());
    let entries: BTreeMap<String, String> = serde_json::from_str(metadata).map_err(|_| broken())?;
    let Some(config) = entries.get("containerimage.config") else {
        return Ok(None);
    };
    Ok(Some(STANDARD.decode(config).map_err(|_| broken())?))
}
