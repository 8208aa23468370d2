//! What a local source op asks for.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::CacheKey;
use crate::attribute::{boolean, go_json, json, sha256};
use crate::error::SourceError;

/// How to find out which files changed since the last transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Differ {
    /// By their metadata.
    #[default]
    Metadata,
    /// Not at all: every file counts as changed.
    None,
}

/// A `local://` source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalIdentifier {
    /// The name under which the client lends the directory, such as `context`.
    pub name: String,
    /// The session that lends it; any, if empty.
    pub session_id: String,
    /// Only paths that match one of these, and directories on the way to them.
    pub include: Option<Vec<String>>,
    /// No path that matches these, in the order and with the exceptions of `.dockerignore`.
    pub exclude: Option<Vec<String>>,
    /// More paths to include; symbolic links in them bring their targets along.
    pub follow: Option<Vec<String>>,
    /// Distinguishes uses of one directory that should not share a snapshot.
    pub shared_key_hint: String,
    /// How to find changes.
    pub differ: Differ,
    /// Transfer names and metadata but no content.
    pub metadata_only: bool,
    /// Patterns of files whose content comes along even so.
    pub metadata_exceptions: Option<Vec<String>>,
}

impl LocalIdentifier {
    /// Reads the part of the URL after `local://`, and the attributes.
    pub fn parse(name: &str, attributes: &BTreeMap<String, String>) -> Result<Self, SourceError> {
        let mut identifier = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        for (key, value) in attributes {
            match key.as_str() {
                "local.session" => match value.split_once(':') {
                    Some((prefix, session)) => {
                        identifier.name = format!("{prefix}-{}", identifier.name);
                        identifier.session_id = session.to_owned();
                    }
                    None => identifier.session_id.clone_from(value),
                },
                "local.includepattern" => identifier.include = json("include patterns", value)?,
                "local.excludepatterns" => identifier.exclude = json("exclude patterns", value)?,
                "local.followpaths" => identifier.follow = json("follow paths", value)?,
                "local.sharedkeyhint" => identifier.shared_key_hint.clone_from(value),
                "local.differ" if value == "none" => identifier.differ = Differ::None,
                "local.metadatatransfer" => {
                    identifier.metadata_only = boolean("value for local.metadatatransfer", value)?;
                }
                "local.metadatatransferexclude" => {
                    identifier.metadata_exceptions = json("metadata transfer exceptions", value)?;
                }
                _ => {}
            }
        }
        Ok(identifier)
    }

    /// The cache key in a session: it says where the files come from, not what they are.
    pub fn cache_key(&self, session_id: &str) -> Result<CacheKey, SourceError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Key<'a> {
            #[serde(rename = "SessionID")]
            session_id: &'a str,
            include_patterns: &'a Option<Vec<String>>,
            exclude_patterns: &'a Option<Vec<String>>,
            follow_paths: &'a Option<Vec<String>>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            metadata_transfer: bool,
            #[serde(skip_serializing_if = "is_empty")]
            metadata_exceptions: &'a Option<Vec<String>>,
        }
        let session_id = if self.session_id.is_empty() {
            session_id
        } else {
            &self.session_id
        };
        let pin = sha256(
            go_json(&Key {
                session_id,
                include_patterns: &self.include,
                exclude_patterns: &self.exclude,
                follow_paths: &self.follow,
                metadata_transfer: self.metadata_only,
                metadata_exceptions: &self.metadata_exceptions,
            })?
            .as_bytes(),
        );
        Ok(CacheKey {
            key: format!("session:{}:{pin}", self.name),
            pin,
            more: false,
        })
    }
}

fn is_empty(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(attributes: &[(&str, &str)], document: &str) {
        let attributes = attributes
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let identifier =
            LocalIdentifier::parse("context", &attributes).expect("attributes are valid");
        let key = identifier.cache_key("abc").expect("the key can be made");
        assert_eq!(
            key.key,
            format!(
                "session:{}:{}",
                identifier.name,
                sha256(document.as_bytes())
            ),
            "{document}"
        );
        assert!(!key.more);
    }

    #[test]
    fn keys_hash_a_document_as_go_writes_it() {
        check(
            &[],
            r#"{"SessionID":"abc","IncludePatterns":null,"ExcludePatterns":null,"FollowPaths":null}"#,
        );
        check(
            &[
                ("local.session", "xyz"),
                ("local.includepattern", r#"["a<b","c&d"]"#),
                ("local.excludepatterns", "[]"),
                ("local.followpaths", r#"["src"]"#),
            ],
            r#"{"SessionID":"xyz","IncludePatterns":["a\u003cb","c\u0026d"],"ExcludePatterns":[],"FollowPaths":["src"]}"#,
        );
        check(
            &[
                ("local.session", "one:two"),
                ("local.metadatatransfer", "true"),
                ("local.metadatatransferexclude", r#"["x"]"#),
            ],
            r#"{"SessionID":"two","IncludePatterns":null,"ExcludePatterns":null,"FollowPaths":null,"MetadataTransfer":true,"MetadataExceptions":["x"]}"#,
        );
    }
}
