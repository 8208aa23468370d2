//! What a build reported, from its beginning: as it goes on while it runs, and
//! again when it is over.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kiln_protocol::control::StatusResponse;
use oci_spec::image::Digest;
use tokio::sync::watch;

use super::log::{self, Written};
use super::{History, HistoryError, Shared, blocking};

/// What is read at once.
const CHUNK: usize = 128 << 10;

/// How often the log of another process's build is looked at.
const POLL: Duration = Duration::from_millis(250);

/// The messages of one build, in order.
pub struct StatusStream {
    build: String,
    shared: Arc<Shared>,
    /// `None` before the first byte is written.
    file: Option<Arc<File>>,
    offset: u64,
    buffer: BytesMut,
    more: More,
}

/// What there is to wait for at the end of the file.
enum More {
    Nothing,
    /// A build of this process.
    Live(Arc<log::LiveLog>, watch::Receiver<Written>),
    /// A build of another process.
    Elsewhere,
}

impl History {
    /// The messages of a build, which may begin up to `patience` later.
    pub async fn status(
        &self,
        build: &str,
        patience: Duration,
    ) -> Result<StatusStream, HistoryError> {
        let mut changes = self.shared.changes.subscribe();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            if let Some(stream) = self.open_status(build).await? {
                return Ok(stream);
            }
            // The sender lives as long as `self`.
            if tokio::time::timeout_at(deadline, changes.changed())
                .await
                .is_err()
            {
                let build = build.to_owned();
                return Err(HistoryError::NoSuchBuild { build });
            }
        }
    }

    async fn open_status(&self, build: &str) -> Result<Option<StatusStream>, HistoryError> {
        let stream = StatusStream {
            build: build.to_owned(),
            shared: self.shared.clone(),
            file: None,
            offset: 0,
            buffer: BytesMut::new(),
            more: More::Nothing,
        };
        if let Some(log) = self.shared.live.log(build) {
            let written = log.subscribe();
            let more = More::Live(log, written);
            return Ok(Some(StatusStream { more, ..stream }));
        }
        let (shared, build) = (self.shared.clone(), build.to_owned());
        blocking(move || recorded(&shared, &build, stream)).await
    }
}

/// Opens the log of a build that this process does not run.
fn recorded(
    shared: &Shared,
    build: &str,
    stream: StatusStream,
) -> Result<Option<StatusStream>, HistoryError> {
    shared.close_orphans()?;
    for unfinished in shared.table.unfinished()? {
        if unfinished.build != build {
            continue;
        }
        // If it is gone, the build has just ended.
        if let Ok(file) = File::open(shared.spools.join(&unfinished.lease)) {
            return Ok(Some(StatusStream {
                file: Some(Arc::new(file)),
                more: More::Elsewhere,
                ..stream
            }));
        }
    }
    let Some(row) = shared.table.get(build)? else {
        return Ok(None);
    };
    let file = match row.record.logs {
        Some(logs) => {
            let digest = Digest::try_from(logs.digest.as_str());
            let digest = digest.map_err(|_| HistoryError::Damaged {
                build: build.to_owned(),
                reason: "its digest cannot be read",
            })?;
            Some(Arc::new(shared.store.content().open(&digest)?))
        }
        None => None,
    };
    Ok(Some(StatusStream { file, ..stream }))
}

impl StatusStream {
    /// The next message; `None` once the build is over and all is told.
    pub async fn next(&mut self) -> Option<Result<StatusResponse, HistoryError>> {
        loop {
            match log::take_message(&mut self.buffer) {
                Ok(Some(message)) => return Some(Ok(message)),
                Ok(None) => {}
                Err(reason) => {
                    self.buffer.clear();
                    self.file = None;
                    self.more = More::Nothing;
                    let build = self.build.clone();
                    return Some(Err(HistoryError::Damaged { build, reason }));
                }
            }
            match self.read_more().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads on, after waiting if need be. Whether there may be more.
    async fn read_more(&mut self) -> Result<bool, HistoryError> {
        // Asked first: what is written before the end is read below.
        let is_over = self.is_over().await?;
        if self.read().await? > 0 {
            return Ok(true);
        }
        if is_over {
            return Ok(false);
        }
        match &mut self.more {
            More::Nothing => return Ok(false),
            // The sender lives as long as the log.
            More::Live(_, written) => drop(written.changed().await),
            More::Elsewhere => tokio::time::sleep(POLL).await,
        }
        Ok(true)
    }

    async fn is_over(&mut self) -> Result<bool, HistoryError> {
        match &mut self.more {
            More::Nothing => Ok(true),
            More::Live(log, written) => {
                let is_over = written.borrow_and_update().ended;
                if self.file.is_none() {
                    self.file = log.file();
                }
                Ok(is_over)
            }
            More::Elsewhere => {
                let (shared, build) = (self.shared.clone(), self.build.clone());
                blocking(move || {
                    shared.close_orphans()?;
                    let row = shared.table.get(&build)?;
                    Ok(row.is_none_or(|row| !row.version.is_active))
                })
                .await
            }
        }
    }

    async fn read(&mut self) -> Result<usize, HistoryError> {
        let Some(file) = self.file.clone() else {
            return Ok(0);
        };
        let (offset, build) = (self.offset, self.build.clone());
        let chunk = blocking(move || {
            let mut chunk = vec![0; CHUNK];
            let count = file.read_at(&mut chunk, offset);
            let count = count.map_err(|error| HistoryError::log(build.as_ref(), error))?;
            chunk.truncate(count);
            Ok(chunk)
        })
        .await?;
        self.offset += chunk.len() as u64;
        self.buffer.extend_from_slice(&chunk);
        Ok(chunk.len())
    }
}
