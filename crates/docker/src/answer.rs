//! What an engine says of an archive that it loads: lines of JSON.

use serde::Deserialize;

/// What is kept of an answer that makes no sense.
const LINE_LIMIT: usize = 64 << 10;

/// How an image begins to be told of that is there but cannot be run, because content is missing or broken.
const UNUSABLE: &str = "Error unpacking image";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Line {
    stream: String,
    error: String,
    #[serde(rename = "errorDetail")]
    detail: Detail,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Detail {
    message: String,
}

/// Reads an answer as it comes.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    line: Vec<u8>,
    failure: Option<String>,
}

impl Answer {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_LIMIT.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let Ok(line) = serde_json::from_slice::<Line>(&line) else {
            return;
        };
        let stream = line.stream.trim();
        let unusable = if stream.starts_with(UNUSABLE) {
            stream
        } else {
            ""
        };
        let said = [line.detail.message.as_str(), line.error.as_str(), unusable];
        let said = said.into_iter().find(|text| !text.is_empty());
        if let Some(text) = said {
            self.failure.get_or_insert_with(|| text.to_owned());
        }
    }

    /// Why the load failed, if it did.
    pub(crate) fn failure(mut self) -> Option<String> {
        self.end_line();
        self.failure
    }
}
