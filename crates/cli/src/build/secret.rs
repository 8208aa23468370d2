//! `--secret`: files and variables that steps may see but images do not keep.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use kiln_session::{MAX_SECRET_SIZE, Secrets, SessionError};

use crate::failure::Failure;
use crate::fields;

/// Secrets by id.
pub(super) struct Sources(BTreeMap<String, Source>);

enum Source {
    File(PathBuf),
    Variable(String),
}

impl Sources {
    /// Reads `--secret` values; files must exist.
    pub(super) fn parse(values: &[String]) -> Result<Self, Failure> {
        values
            .iter()
            .map(|value| parse_one(value))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse_one(value: &str) -> Result<(String, Source), Failure> {
    let pairs = fields::pairs(value);
    let pairs = pairs.map_err(|error| Failure::usage(format!("--secret: {error}")))?;
    let (mut id, mut file, mut variable, mut from_variable) = (None, None, None, false);
    for (key, text) in pairs {
        match key.as_str() {
            "type" if text == "file" || text == "env" => from_variable = text == "env",
            "type" => return Err(Failure::usage(format!("unsupported secret type {text:?}"))),
            "id" => id = Some(text),
            "source" | "src" => file = Some(text),
            "env" => variable = Some(text),
            _ => {
                let message = format!(
                    "unexpected key '{key}' in '{key}={text}' (known: id, type, src, source, env)"
                );
                return Err(Failure::usage(message));
            }
        }
    }
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| Failure::usage("secret missing ID"))?;
    if from_variable && variable.is_none() {
        variable = file.take();
    }
    let source = match (variable, file) {
        (Some(variable), _) => Source::Variable(variable),
        (None, Some(file)) => Source::File(file.into()),
        (None, None) if std::env::var_os(&id).is_some() => Source::Variable(id.clone()),
        (None, None) => Source::File(id.clone().into()),
    };
    if let Source::File(path) = &source {
        check_file(&id, path)?;
    }
    Ok((id, source))
}

fn check_file(id: &str, path: &std::path::Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path);
    let metadata = metadata
        .map_err(|error| Failure::usage(format!("failed to stat {}: {error}", path.display())))?;
    if metadata.len() > MAX_SECRET_SIZE {
        return Err(Failure::usage(format!(
            "secret {id} too big. max size 500KB"
        )));
    }
    Ok(())
}

#[async_trait]
impl Secrets for Sources {
    async fn secret(&self, id: &str) -> Result<Option<Bytes>, SessionError> {
        let value = match self.0.get(id) {
            None => return Ok(None),
            Some(Source::Variable(name)) => {
                use std::os::unix::ffi::OsStringExt as _;
                std::env::var_os(name).unwrap_or_default().into_vec()
            }
            Some(Source::File(path)) => {
                tokio::fs::read(path)
                    .await
                    .map_err(|source| SessionError::Path {
                        path: path.clone(),
                        source,
                    })?
            }
        };
        let size = value.len() as u64;
        if size > MAX_SECRET_SIZE {
            return Err(SessionError::SecretTooBig {
                id: id.into(),
                size,
                limit: MAX_SECRET_SIZE,
            });
        }
        Ok(Some(value.into()))
    }
}
