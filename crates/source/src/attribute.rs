//! Reading the string attributes of source ops, and JSON as Go writes it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::SourceError;

/// A positive whole number.
pub(crate) fn positive(what: &'static str, value: &str) -> Result<usize, SourceError> {
    match value.parse::<i64>() {
        Ok(number) if number > 0 => Ok(number as usize),
        Ok(_) => Err(invalid(what, value, String::new())),
        Err(error) => Err(invalid(what, value, format!(": {error}"))),
    }
}

/// A value written as JSON.
pub(crate) fn json<T: DeserializeOwned>(what: &'static str, value: &str) -> Result<T, SourceError> {
    serde_json::from_str(value).map_err(|error| invalid(what, value, format!(": {error}")))
}

/// A boolean in one of the spellings Go accepts.
pub(crate) fn boolean(what: &'static str, value: &str) -> Result<bool, SourceError> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(invalid(what, value, ": write true or false".to_owned())),
    }
}

pub(crate) fn invalid(what: &'static str, value: &str, reason: String) -> SourceError {
    SourceError::Attribute {
        what,
        value: value.to_owned(),
        reason,
    }
}

/// JSON as Go's encoder writes it: characters special to HTML are escaped. Cache keys
/// are hashes of such texts.
pub(crate) fn go_json(value: &impl Serialize) -> Result<String, SourceError> {
    let text =
        serde_json::to_string(value).map_err(|error| SourceError::Internal(error.to_string()))?;
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", c as u32));
            }
            _ => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// `sha256:` and the hash of a text.
pub(crate) fn sha256(text: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(text)))
}
