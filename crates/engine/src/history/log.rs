//! Logs of builds: messages of BuildKit's API one after the other, each after
//! its length in four bytes (little-endian), as BuildKit stores them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::{Buf as _, Bytes, BytesMut};
use kiln_protocol::control::{StatusResponse, VertexLog};
use prost::Message as _;
use tokio::sync::watch;

/// The media type of logs.
pub(super) const MEDIA_TYPE: &str = "application/vnd.buildkit.status.v0";

/// No message is longer; a longer one means that the log is damaged.
const MAX_MESSAGE: usize = 64 << 20;

/// Bytes of the length before each message.
const HEADER: usize = 4;

/// What is written at once.
const CHUNK: usize = 64 << 10;

/// What stands at the end of a log that became too long.
const CUT: &[u8] =
    b"\n[the log of this build has become too long: further output is not recorded]\n";

/// The log of a build under way, as its readers see it.
pub(super) struct LiveLog {
    file: OnceLock<Arc<File>>,
    written: watch::Sender<Written>,
}

/// How far a log has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Whole messages in bytes.
    pub(super) bytes: u64,
    /// Whether no more will come.
    pub(super) ended: bool,
}

impl LiveLog {
    pub(super) fn new() -> Self {
        Self {
            file: OnceLock::new(),
            written: watch::Sender::default(),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Written> {
        self.written.subscribe()
    }

    /// The file, once something is in it.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.get().cloned()
    }

    /// Lets readers go that wait for more.
    pub(super) fn end(&self) {
        self.written.send_modify(|written| written.ended = true);
    }
}

/// Writes the log of one build.
pub(super) struct LogWriter {
    log: Arc<LiveLog>,
    path: PathBuf,
    state: State,
    buffer: BytesMut,
    length: u64,
    limit: u64,
    /// Whether output was left out.
    is_cut: bool,
}

enum State {
    Open(Arc<File>),
    /// Writing failed: what came before is all there is.
    Failed,
}

impl LogWriter {
    /// Begins the log in a file of its own.
    pub(super) fn create(log: Arc<LiveLog>, path: PathBuf, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let file = Arc::new(file);
        let _ = log.file.set(file.clone());
        Ok(Self {
            log,
            path,
            state: State::Open(file),
            buffer: BytesMut::new(),
            length: 0,
            limit,
            is_cut: false,
        })
    }

    /// Adds a message. Beyond the limit only what steps came to is kept.
    pub(super) fn append(&mut self, message: &StatusResponse) {
        let size = message.encoded_len();
        if !self.is_cut && self.length + (self.buffer.len() + size) as u64 <= self.limit {
            self.encode(message);
            return;
        }
        let mut short = StatusResponse {
            vertexes: message.vertexes.clone(),
            warnings: message.warnings.clone(),
            ..StatusResponse::default()
        };
        if let Some(log) = message.logs.first().filter(|_| !self.is_cut) {
            self.is_cut = true;
            short.logs.push(VertexLog {
                msg: Bytes::from_static(CUT),
                ..log.clone()
            });
        }
        if short != StatusResponse::default() {
            self.encode(&short);
        }
    }

    fn encode(&mut self, message: &StatusResponse) {
        let size = message.encoded_len();
        if size > MAX_MESSAGE {
            return;
        }
        self.buffer.reserve(HEADER + size);
        self.buffer.extend_from_slice(&(size as u32).to_le_bytes());
        // The buffer grows as needed, so encoding cannot run out of room.
        let _ = message.encode(&mut self.buffer);
        if self.buffer.len() >= CHUNK {
            self.flush();
        }
    }

    /// Shows readers everything so far.
    pub(super) fn flush(&mut self) {
        let State::Open(file) = &self.state else {
            self.buffer.clear();
            return;
        };
        if self.buffer.is_empty() {
            return;
        }
        match file.write_all_at(&self.buffer, self.length) {
            Ok(()) => {
                self.length += self.buffer.len() as u64;
                let length = self.length;
                self.log
                    .written
                    .send_modify(|written| written.bytes = length);
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the log of a build is cut short");
                self.state = State::Failed;
            }
        }
        self.buffer.clear();
    }

    /// Writes the rest and ends the log.
    pub(super) fn finish(&mut self) {
        self.flush();
        self.log.end();
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

/// Takes the next whole message off the front of a log; `None` if there is
/// none yet.
pub(super) fn take_message(log: &mut BytesMut) -> Result<Option<StatusResponse>, &'static str> {
    let Some(header) = log.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let size = u32::from_le_bytes(*header) as usize;
    if size > MAX_MESSAGE {
        return Err("a message is too long");
    }
    if log.len() < HEADER + size {
        return Ok(None);
    }
    log.advance(HEADER);
    let message = log.split_to(size);
    StatusResponse::decode(message.freeze())
        .map(Some)
        .map_err(|_| "a message cannot be read")
}
