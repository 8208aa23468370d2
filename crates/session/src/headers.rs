//! What a client says about its session when it opens it.

use std::collections::BTreeSet;
use std::time::Duration;

use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

use crate::{SessionError, SessionId};

const ID: &str = "x-docker-expose-session-uuid";
const NAME: &str = "x-docker-expose-session-name";
const SHARED_KEY: &str = "x-docker-expose-session-sharedkey";
const METHOD: &str = "x-docker-expose-session-grpc-method";
const HEALTH_TIMEOUT: &str = "x-buildkit-session-health-custom-timeout";

/// More methods than any client has.
const MOST_METHODS: usize = 1000;

/// The headers of a `Session` call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHeaders {
    /// Names the session.
    pub id: SessionId,
    /// For people; mostly empty.
    pub name: String,
    /// Sessions with equal keys come from the same place, so what one of them sent is
    /// the base of what the next one sends.
    pub shared_key: String,
    /// What the client serves, such as `/moby.filesync.v1.auth/credentials`, in lower case.
    pub methods: BTreeSet<String>,
    /// How soon a client that does not answer is given up, where it asks for that itself.
    pub health_timeout: Option<Duration>,
}

impl SessionHeaders {
    /// A session that serves nothing yet.
    pub fn new(id: SessionId) -> Self {
        Self {
            id,
            name: String::new(),
            shared_key: String::new(),
            methods: BTreeSet::new(),
            health_timeout: None,
        }
    }

    /// Reads the headers of a call. An id is needed; all else may be missing.
    pub fn from_metadata(metadata: &MetadataMap) -> Result<Self, SessionError> {
        let text = |key| match metadata.get(key) {
            None => Ok(String::new()),
            Some(value) => value
                .to_str()
                .map(str::to_owned)
                .map_err(|_| malformed(key)),
        };
        let id = text(ID)?;
        if id.is_empty() {
            return Err(malformed(ID));
        }
        let methods = metadata.get_all(METHOD).into_iter().take(MOST_METHODS);
        let methods = methods.map(|method| match method.to_str() {
            Ok(method) => Ok(method.to_ascii_lowercase()),
            Err(_) => Err(malformed(METHOD)),
        });
        Ok(Self {
            id: SessionId::new(id),
            name: text(NAME)?,
            shared_key: text(SHARED_KEY)?,
            methods: methods.collect::<Result<_, _>>()?,
            health_timeout: health_timeout(&text(HEALTH_TIMEOUT)?),
        })
    }

    /// Puts the headers into those of a call.
    pub fn put(&self, metadata: &mut MetadataMap) -> Result<(), SessionError> {
        let texts = [
            (ID, self.id.as_str()),
            (NAME, &self.name),
            (SHARED_KEY, &self.shared_key),
        ];
        for (key, text) in texts {
            metadata.insert(key, value(key, text)?);
        }
        for method in &self.methods {
            metadata.append(METHOD, value(METHOD, method)?);
        }
        Ok(())
    }

    /// Whether the client serves a method, such as `/moby.filesync.v1.Auth/Credentials`.
    pub fn serves(&self, method: &str) -> bool {
        self.methods.contains(&method.to_ascii_lowercase())
    }
}

/// At least a second: less would end sessions of slow machines.
fn health_timeout(text: &str) -> Option<Duration> {
    let millis: u64 = text.parse().ok().filter(|millis| *millis > 0)?;
    Some(Duration::from_millis(millis).max(Duration::from_secs(1)))
}

fn malformed(key: &str) -> SessionError {
    SessionError::Malformed {
        what: "session".into(),
        reason: format!("header {key} is missing or not readable"),
    }
}

/// A header's value, for headers that cannot hold any text.
pub(crate) fn value(key: &str, text: &str) -> Result<AsciiMetadataValue, SessionError> {
    AsciiMetadataValue::try_from(text).map_err(|_| SessionError::Malformed {
        what: format!("header {key}"),
        reason: format!("{text:?} holds characters that headers cannot carry"),
    })
}

/// A header's name that is made of data.
pub(crate) fn key(text: &str) -> Result<AsciiMetadataKey, SessionError> {
    text.parse().map_err(|_| SessionError::Malformed {
        what: "header".into(),
        reason: format!("{text:?} cannot be the name of a header"),
    })
}
