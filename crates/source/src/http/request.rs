//! Requests for a file, with what allows to see it.

use std::time::Duration;

use kiln_session::Session;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::identifier::HttpIdentifier;
use super::remember::Memory;
use crate::attribute::invalid;
use crate::error::SourceError;

/// Pauses before a request that failed for now is made again.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(4),
];

/// A file on a web server, ready to be asked for.
pub(super) struct Remote {
    client: Client,
    url: Url,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Remote {
    /// Finds the credentials for a file among the secrets of those who want it.
    pub(super) async fn new(
        client: &Client,
        identifier: &HttpIdentifier,
        sessions: &[Session],
    ) -> Result<Self, SourceError> {
        let url = Url::parse(&identifier.url)
            .map_err(|error| invalid("URL", &identifier.url, format!(": {error}")))?;
        let mut headers = Vec::new();
        for header in &identifier.headers {
            let name = HeaderName::try_from(&header.name);
            let value = HeaderValue::try_from(&header.value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(invalid("header", &header.name, String::new()));
            };
            headers.push((name, value));
        }
        if let Some(mut value) = authorization(identifier, &url, sessions).await? {
            value.set_sensitive(true);
            headers.push((AUTHORIZATION, value));
        }
        Ok(Self {
            client: client.clone(),
            url,
            headers,
        })
    }

    /// The URL without its password.
    pub(super) fn name(&self) -> String {
        shown(&self.url)
    }

    /// Asks for the file, unless it is still as the memory says. Failures that may pass are tried again.
    pub(super) async fn get(&self, memory: Option<&Memory>) -> Result<Response, SourceError> {
        let mut pauses = PAUSES.iter();
        loop {
            let answer = self.request(Method::GET, memory).send().await;
            let is_temporary = match &answer {
                Ok(response) => is_temporary(response.status()),
                Err(error) => error.is_connect() || error.is_timeout() || error.is_request(),
            };
            match pauses.next().filter(|_| is_temporary) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return self.check(answer),
            }
        }
    }

    /// Asks about the file only; an answer that is no help is none.
    pub(super) async fn try_head(&self, memory: &Memory) -> Option<Response> {
        let answer = self.request(Method::HEAD, Some(memory)).send().await;
        self.check(answer).ok()
    }

    fn request(&self, method: Method, memory: Option<&Memory>) -> reqwest::RequestBuilder {
        let mut request = self.client.request(method, self.url.clone());
        if self.headers.iter().all(|(name, _)| name != ACCEPT_ENCODING) {
            request = request.header(ACCEPT_ENCODING, "gzip");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match memory.map(|memory| (&memory.etag, &memory.modified)) {
            Some((Some(etag), _)) => request.header(IF_NONE_MATCH, etag),
            Some((None, Some(modified))) => request.header(IF_MODIFIED_SINCE, modified),
            _ => request,
        }
    }

    fn check(&self, answer: reqwest::Result<Response>) -> Result<Response, SourceError> {
        let response = answer.map_err(|error| self.failed(error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        Err(SourceError::DownloadStatus {
            url: self.name(),
            status: status.as_u16(),
            reason: status.canonical_reason().unwrap_or_default(),
        })
    }

    /// A transfer that broke.
    pub(super) fn failed(&self, error: reqwest::Error) -> SourceError {
        SourceError::Download {
            url: self.name(),
            // The URL in the error may have a password.
            source: error.without_url(),
        }
    }
}

fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// What the build's secrets say for this host: the secret that the source names, or else those by the host's name.
async fn authorization(
    identifier: &HttpIdentifier,
    url: &Url,
    sessions: &[Session],
) -> Result<Option<HeaderValue>, SourceError> {
    let host = url.host_str().unwrap_or_default();
    let named = identifier.header_secret.as_str();
    let candidates = match named {
        "" => vec![
            (format!("HTTP_AUTH_TOKEN_{host}"), "Bearer "),
            (format!("HTTP_AUTH_HEADER_{host}"), ""),
        ],
        name => vec![(name.to_owned(), "")],
    };
    for (secret, prefix) in candidates {
        for session in sessions {
            let Some(value) = session.secrets.secret(&secret).await? else {
                continue;
            };
            let mut text = prefix.as_bytes().to_vec();
            text.extend_from_slice(value.trim_ascii());
            let value = HeaderValue::from_bytes(&text);
            return match value {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(SourceError::Secret {
                    id: secret,
                    reason: "is no value of a header",
                }),
            };
        }
    }
    match named {
        "" => Ok(None),
        name => Err(SourceError::Secret {
            id: name.to_owned(),
            reason: "is not there; give it to the build with --secret",
        }),
    }
}

/// A URL without its password.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        // Only URLs without a host refuse one.
        let _ = url.set_password(Some("xxxxx"));
    }
    url.to_string()
}
