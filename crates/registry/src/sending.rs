//! The upload of one blob, over all its attempts.

use oci_spec::image::Descriptor;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};

use crate::client::Repository;
use crate::endpoint::Endpoint;
use crate::error::RegistryError;
use crate::push::{PushOutcome, refused_push, upload_location};
use crate::send::{Body, Persistence, Request};
use crate::source::BlobSource;

/// An attempt that brought this much counts as a good one.
const GOOD_PROGRESS: u64 = 1 << 20;

/// One blob on its way to one repository.
pub(crate) struct Sending<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) descriptor: &'a Descriptor,
    pub(crate) source: &'a BlobSource,
}

/// An upload that the registry waits for.
struct Session {
    location: Url,
    /// Bytes that the registry has.
    received: u64,
}

impl Sending<'_> {
    /// Sends the blob, in the upload that `begun` leads to if there is one.
    pub(crate) async fn run(&self, begun: Option<Url>) -> Result<PushOutcome, RegistryError> {
        self.source.prepare().await?;
        let mut session = begun.map(Session::new);
        let retry = self.repository.shared.retry;
        let (mut failures, mut received) = (0, 0);
        loop {
            let error = match self.attempt(&mut session, failures).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            failures += 1;
            // An upload that the registry has forgotten can begin anew.
            let is_lost = session.is_some() && is_lost(&error);
            match retry.again(failures, error.retry_after()) {
                Some(pause) if error.is_temporary() || is_lost => {
                    tracing::debug!(%error, digest = %self.descriptor.digest(), "pushing again");
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
            session = match session {
                Some(session) if !is_lost => self.resume(session).await,
                _ => None,
            };
            let now = session.as_ref().map_or(0, |session| session.received);
            if now >= received + GOOD_PROGRESS {
                (failures, received) = (0, now);
            }
        }
    }

    async fn attempt(
        &self,
        session: &mut Option<Session>,
        failures: u32,
    ) -> Result<PushOutcome, RegistryError> {
        let (location, received) = match session {
            Some(session) => (session.location.clone(), session.received),
            None => match self.begin(failures).await? {
                Some(location) => {
                    *session = Some(Session::new(location.clone()));
                    (location, 0)
                }
                None => return Ok(PushOutcome::Existed),
            },
        };
        let size = self.descriptor.size();
        let rest = self.source.body(received, size - received);
        if received == 0 {
            self.finish(location, rest).await?;
        } else {
            let location = match received < size {
                true => self.append(location, received, rest).await?,
                false => location,
            };
            // The registry now has it all, whatever becomes of the last request.
            if let Some(session) = session {
                (session.location, session.received) = (location.clone(), size);
            }
            self.finish(location, Body::Bytes(Default::default()))
                .await?;
        }
        self.source.report(size);
        Ok(PushOutcome::Sent)
    }

    /// Begins an upload. `None` if the blob is there after all: an answer can get lost.
    async fn begin(&self, failures: u32) -> Result<Option<Url>, RegistryError> {
        if failures > 0 && self.repository.is_pushed(self.descriptor).await? {
            self.source.report(self.descriptor.size());
            return Ok(None);
        }
        let begun = self.repository.begin(self.endpoint, Persistence::Repeat);
        let begun = begun.await?;
        match begun.status() {
            StatusCode::CREATED => Ok(None),
            _ => upload_location(self.endpoint, &begun).map(Some),
        }
    }

    /// Sends the rest of a blob that the registry has the beginning of.
    async fn append(&self, to: Url, from: u64, rest: Body) -> Result<Url, RegistryError> {
        let mut request = self.request(Method::PATCH, to, rest);
        let range = format!("{from}-{}", self.descriptor.size() - 1);
        if let Ok(range) = HeaderValue::from_str(&range) {
            request.headers.insert(CONTENT_RANGE, range);
        }
        let response = self.repository.send_ok(&request).await;
        upload_location(self.endpoint, &response.map_err(refused_push)?)
    }

    /// Sends what is left, and makes it a blob, which the registry verifies.
    async fn finish(&self, mut to: Url, rest: Body) -> Result<(), RegistryError> {
        let digest = self.descriptor.digest().as_ref();
        self.endpoint.append(&mut to, &[("digest", digest)]);
        let request = self.request(Method::PUT, to, rest);
        let response = self.repository.send_ok(&request).await;
        response.map(drop).map_err(refused_push)
    }

    /// Finds out how far a broken upload has come. `None` if the registry does not know it any more.
    async fn resume(&self, session: Session) -> Option<Session> {
        let request = self.request(Method::GET, session.location, Body::Empty);
        let response = self.repository.send_ok(&request).await.ok()?;
        let received =
            received(response.headers()).filter(|count| *count <= self.descriptor.size())?;
        let location = upload_location(self.endpoint, &response);
        Some(Session {
            location: location.unwrap_or(request.url),
            received,
        })
    }

    fn request(&self, method: Method, url: Url, body: Body) -> Request<'_> {
        let mut headers = HeaderMap::new();
        if !matches!(body, Body::Empty) {
            let bytes = HeaderValue::from_static("application/octet-stream");
            headers.insert(CONTENT_TYPE, bytes);
        }
        Request {
            headers,
            body,
            // The upload's state at the other side is unknown after a failure: it is asked for first.
            persistence: Persistence::Once,
            ..Request::write(self.repository, self.endpoint, method, url)
        }
    }
}

impl Session {
    fn new(location: Url) -> Self {
        Self {
            location,
            received: 0,
        }
    }
}

fn is_lost(error: &RegistryError) -> bool {
    let is_gone = matches!(error, RegistryError::Status { code: 416, .. });
    is_gone || error.is_not_found()
}

/// The bytes that a registry says it has, from `Range: 0-LAST`. Nothing at all looks like one byte,
/// which is as well sent again.
fn received(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?;
    let range = text.strip_prefix("bytes=").unwrap_or(text);
    let last: u64 = range.strip_prefix("0-")?.parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}
