//! Reads the file, and says of what is wrong where it is and what was meant.

use std::path::{Path, PathBuf};

use super::Config;

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("failed to load config from {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("failed to parse config {path}: {message}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        message: String,
    },
}

/// Reads a file. One that does not exist counts as empty, as upstream has it.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
        Err(source) => Err(ConfigError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Reads the text of a file; `path` is for errors.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Parse {
        path: path.to_owned(),
        message: explain(&error),
    })
}

/// The parser's text, which shows the line, and what an unknown key was
/// probably meant to be.
fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string().trim_end().to_owned();
    match suggestion(error.message()) {
        Some(key) => format!("{text}\ndid you mean `{key}`?"),
        None => text,
    }
}

/// Of the keys that are possible here, the one most like the unknown key.
fn suggestion(message: &str) -> Option<&str> {
    let (unknown, known) = message.strip_prefix("unknown field ")?.split_once(", ")?;
    let unknown = unknown.trim_matches('`').to_lowercase();
    let likeness = |key: &str| strsim::jaro_winkler(&unknown, &key.to_lowercase());
    known
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|key| (likeness(key), key))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}
