//! Which files of a directory are asked for, and how that is written in a call's metadata.

use tonic::Status;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

const NAME: &str = "dir-name";
const INCLUDE: &str = "include-patterns";
const EXCLUDE: &str = "exclude-patterns";
const FOLLOW: &str = "followpaths";

/// Which files of a lent directory are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectoryRequest {
    /// Only paths that match one of these, and directories on the way to them.
    pub include: Option<Vec<String>>,
    /// No path that matches these, in the order and with the exceptions of `.dockerignore`.
    pub exclude: Option<Vec<String>>,
    /// More paths to include; symbolic links in them bring their targets along.
    pub follow: Option<Vec<String>>,
}

impl DirectoryRequest {
    /// As metadata of a call for the directory `name`. A list that has characters outside of
    /// ASCII is percent-encoded, and marked so.
    pub(crate) fn to_metadata(&self, name: &str) -> Result<MetadataMap, Status> {
        let mut metadata = MetadataMap::new();
        put(&mut metadata, NAME, &[name.to_owned()])?;
        let lists = [
            (INCLUDE, &self.include),
            (EXCLUDE, &self.exclude),
            (FOLLOW, &self.follow),
        ];
        for (key, list) in lists {
            put(&mut metadata, key, list.as_deref().unwrap_or_default())?;
        }
        Ok(metadata)
    }

    /// Reads a call's metadata: the directory's name and what is wanted of it.
    pub(super) fn from_metadata(metadata: &MetadataMap) -> Result<(String, Self), Status> {
        let name = take(metadata, NAME)?.into_iter().next();
        let list = |key| Some(take(metadata, key)).transpose();
        let given = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
        let request = Self {
            include: given(list(INCLUDE)?),
            exclude: given(list(EXCLUDE)?),
            follow: given(list(FOLLOW)?),
        };
        Ok((name.unwrap_or_default(), request))
    }
}

fn put(metadata: &mut MetadataMap, key: &'static str, values: &[String]) -> Result<(), Status> {
    let encoded = values.iter().any(|value| !value.is_ascii());
    for value in values {
        let text = if encoded {
            encode(value)
        } else {
            value.clone()
        };
        let text = AsciiMetadataValue::try_from(text).map_err(|_| {
            Status::invalid_argument(format!(
                "{key}: {value:?} has a character that cannot be sent"
            ))
        })?;
        metadata.append(key, text);
    }
    if encoded {
        let key = AsciiMetadataKey::from_bytes(format!("{key}-encoded").as_bytes());
        let key = key.map_err(|error| Status::internal(error.to_string()))?;
        metadata.insert(key, AsciiMetadataValue::from_static("1"));
    }
    Ok(())
}

fn take(metadata: &MetadataMap, key: &str) -> Result<Vec<String>, Status> {
    let encoded = metadata
        .get(format!("{key}-encoded"))
        .is_some_and(|value| matches!(value.as_bytes(), b"1" | b"t" | b"T" | b"true" | b"TRUE"));
    let values = metadata.get_all(key).iter().map(|value| {
        let text = value.as_bytes();
        let text = if encoded { decode(text) } else { text.to_vec() };
        String::from_utf8(text)
            .map_err(|_| Status::invalid_argument(format!("{key} has a value that is no text")))
    });
    values.collect()
}

/// The encoding of query strings: what is neither letter, digit nor one of `-_.~` as `%XX`,
/// a space as `+`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Undoes [`encode`]; what is not encoded well stays as it is.
fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[&str]) -> Option<Vec<String>> {
        Some(values.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn requests_survive_the_way_through_metadata() {
        let requests = [
            DirectoryRequest::default(),
            DirectoryRequest {
                include: list(&["a b", "*.c+", "100%"]),
                exclude: list(&["**/ä", "!a b+c%41/\u{1f980}"]),
                follow: list(&["x"]),
            },
        ];
        for request in requests {
            for name in ["context", "kö nig"] {
                let metadata = request.to_metadata(name).expect("metadata");
                let read = DirectoryRequest::from_metadata(&metadata).expect("request");
                assert_eq!(read, (name.to_owned(), request.clone()));
            }
        }
    }

    #[test]
    fn only_lists_that_need_it_are_encoded() {
        let request = DirectoryRequest {
            include: list(&["a/b c", "%41"]),
            exclude: list(&["é", "a/b"]),
            follow: None,
        };
        let metadata = request.to_metadata("context").expect("metadata");
        let values = |key| {
            let values = metadata.get_all(key).iter();
            let texts = values.map(|value| value.to_str().expect("text"));
            texts.collect::<Vec<_>>()
        };
        assert_eq!(values(INCLUDE), ["a/b c", "%41"]);
        assert_eq!(values("include-patterns-encoded"), [""; 0]);
        assert_eq!(values(EXCLUDE), ["%C3%A9", "a%2Fb"]);
        assert_eq!(values("exclude-patterns-encoded"), ["1"]);
    }

    #[test]
    fn control_characters_are_refused() {
        let request = DirectoryRequest {
            include: list(&["a\nb"]),
            ..DirectoryRequest::default()
        };
        let refused = request.to_metadata("context").expect_err("a newline");
        assert!(refused.message().contains("include-patterns"), "{refused}");
    }
}
