//! The sessions that are connected to a daemon.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use kiln_protocol::control::BytesMessage;
use tokio::sync::Notify;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::tunnel::OutboundStream;
use crate::{RemoteSession, SessionError, SessionHeaders};

/// How long a build waits for its session: the two arrive on calls of their own.
const PATIENCE: Duration = Duration::from_secs(5);

/// All connected sessions by id. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Table>);

#[derive(Default)]
struct Table {
    sessions: Mutex<HashMap<String, Entry>>,
    changed: Notify,
}

/// A session's place, taken before its connection is made.
enum Entry {
    Connecting,
    Connected(RemoteSession),
}

impl Sessions {
    /// Serves a `Session` call: answer it with the stream. The session can be had from
    /// then on until it ends.
    pub fn accept(
        &self,
        metadata: &MetadataMap,
        inbound: impl Stream<Item = Result<BytesMessage, Status>> + Send + 'static,
    ) -> Result<OutboundStream, SessionError> {
        let headers = SessionHeaders::from_metadata(metadata)?;
        let place = Place::take(self, headers.id.as_str())?;
        let (pending, outbound) = RemoteSession::accept(headers, inbound);
        tokio::spawn(async move {
            match pending.connect().await {
                Ok(session) => {
                    tracing::debug!(session = %session.headers().id, "session started");
                    place.fill(session.clone());
                    session.closed().await;
                    tracing::debug!(session = %session.headers().id, "session ended");
                }
                Err(error) => tracing::warn!(%error, "session failed"),
            }
        });
        Ok(outbound)
    }

    /// The session of this id; waits a little for one that is on its way.
    pub async fn get(&self, id: &str) -> Result<RemoteSession, SessionError> {
        // Clients may put something before the id to keep vertices apart.
        let id = match id.split_once(':') {
            Some((_, rest)) if !rest.is_empty() => rest,
            _ => id,
        };
        let wait = async {
            loop {
                let changed = self.0.changed.notified();
                if let Some(session) = self.connected(id) {
                    return session;
                }
                changed.await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.map_err(|_| SessionError::UnknownSession { id: id.to_owned() })
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all sessions, for a daemon that stops.
    pub fn close_all(&self) {
        for entry in self.0.lock().values() {
            if let Entry::Connected(session) = entry {
                session.close();
            }
        }
    }

    fn connected(&self, id: &str) -> Option<RemoteSession> {
        match self.0.lock().get(id) {
            Some(Entry::Connected(session)) if !session.is_closed() => Some(session.clone()),
            _ => None,
        }
    }
}

impl Table {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id that is in use until this is dropped.
struct Place {
    sessions: Sessions,
    id: String,
}

impl Place {
    fn take(sessions: &Sessions, id: &str) -> Result<Self, SessionError> {
        let mut table = sessions.0.lock();
        if table.contains_key(id) {
            return Err(SessionError::DuplicateSession { id: id.to_owned() });
        }
        table.insert(id.to_owned(), Entry::Connecting);
        Ok(Self {
            sessions: sessions.clone(),
            id: id.to_owned(),
        })
    }

    fn fill(&self, session: RemoteSession) {
        let entry = Entry::Connected(session);
        self.sessions.0.lock().insert(self.id.clone(), entry);
        self.sessions.0.changed.notify_waiters();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.0.lock().remove(&self.id);
    }
}
