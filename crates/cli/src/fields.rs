//! Values of flags that hold `key=value` fields separated by commas, with
//! CSV quoting (RFC 4180).

use std::collections::BTreeMap;

/// Why a flag's value cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    /// The value is not one line of CSV.
    #[error("{value:?} is not a list of comma-separated fields: {reason}")]
    Csv { value: String, reason: String },
    /// A field is not a pair.
    #[error("invalid value {0}")]
    NoValue(String),
}

/// The fields of one value, in order.
pub(crate) fn split(value: &str) -> Result<Vec<String>, FieldError> {
    let bad = |reason: String| FieldError::Csv {
        value: value.into(),
        reason,
    };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(value.as_bytes());
    let mut records = reader.records();
    let Some(record) = records.next() else {
        return Ok(Vec::new());
    };
    let record = record.map_err(|error| bad(error.to_string()))?;
    if records.next().is_some() {
        return Err(bad("it has more than one line".into()));
    }
    Ok(record.iter().map(str::to_owned).collect())
}

/// A truth value as Go writes it.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The `key=value` pairs of one value; keys are lower-case.
pub(crate) fn pairs(value: &str) -> Result<Vec<(String, String)>, FieldError> {
    let pairs = split(value)?
        .into_iter()
        .map(|field| match field.split_once('=') {
            Some((key, value)) => Ok((key.to_lowercase(), value.to_owned())),
            None => Err(FieldError::NoValue(field)),
        });
    pairs.collect()
}

/// Repeated `key=value` flags as a map; the last of two equal keys wins.
pub(crate) fn map(values: &[String]) -> Result<BTreeMap<String, String>, FieldError> {
    let pairs = values.iter().map(|value| match value.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(FieldError::NoValue(value.clone())),
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_quoted() {
        let check = |input: &str, expected: &[(&str, &str)]| {
            let pairs = pairs(input).unwrap();
            let pairs = pairs
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect::<Vec<_>>();
            assert_eq!(pairs, expected, "{input}");
        };
        check("type=local,dest=out", &[("type", "local"), ("dest", "out")]);
        check(
            r#"Type=image,"name=a,b",push=true"#,
            &[("type", "image"), ("name", "a,b"), ("push", "true")],
        );
        check("a=b=c", &[("a", "b=c")]);
    }

    #[test]
    fn fields_without_value_are_errors() {
        assert_eq!(
            pairs("type=local,dest").unwrap_err().to_string(),
            "invalid value dest"
        );
        assert!(split("a\nb").is_err());
    }
}
