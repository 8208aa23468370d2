//! What a step has fetched, as plain data.

use std::collections::HashMap;
use std::fmt;

/// Everything that went through a proxy. URLs are absolute, without the scheme's own port and with user names
/// and passwords replaced by `xxxxx`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Requests that were sent on, or could not be, in the order of their answers.
    pub requests: Vec<Request>,
    /// Complete answers to `GET`; those that were redirected also under the URLs that led to them.
    pub materials: Vec<Material>,
    /// Answers that say nothing certain about what is at their URL.
    pub incomplete: Vec<Incomplete>,
    /// Requests that the rules did not allow; they are in none of the lists above.
    pub denied: Vec<Denial>,
}

/// A request with its answer's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// What was fetched: for a request that the rules changed, the URL that they gave.
    pub url: String,
    /// Where the answer's `Location` leads.
    pub redirect_target: Option<String>,
    /// Status code; 502 where there was no answer.
    pub status: u16,
}

/// Something that was fetched completely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// Where it was.
    pub url: String,
    /// `sha256:` and the hexadecimal digest of the body as it was sent.
    pub digest: String,
}

/// Something that was fetched, but not in a way that could be repeated and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// The method, such as `POST`.
    pub method: String,
    /// Where it was sent.
    pub url: String,
    /// Why it is no material.
    pub reason: Reason,
}

/// A request that was not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The method.
    pub method: String,
    /// What was asked for.
    pub url: String,
    /// The rules' reason.
    pub reason: String,
}

/// Why an answer is no material; in BuildKit's words but for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The method is not `GET`.
    MethodNotMaterializable,
    /// Only a part was asked for or sent.
    PartialResponse,
    /// The body was changed on its way; this proxy never does that.
    ResponseTransformed,
    /// The body broke off, or the step stopped reading it.
    BodyReadFailed,
    /// The status was 400 or more.
    UnsuccessfulResponse,
    /// There was no answer.
    UpstreamError,
    /// The step opened a tunnel and there was no TLS to be had with it; it may not trust the authority.
    TlsHandshakeFailed,
}

impl Reason {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::MethodNotMaterializable => "method_not_materializable",
            Reason::PartialResponse => "partial_response",
            Reason::ResponseTransformed => "response_transformed",
            Reason::BodyReadFailed => "body_read_failed",
            Reason::UnsuccessfulResponse => "unsuccessful_response",
            Reason::UpstreamError => "upstream_error",
            Reason::TlsHandshakeFailed => "tls_handshake_failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Record {
    /// Adds a material for every URL that was redirected, in any number of steps, to one that is a material.
    pub(crate) fn follow_redirects(&mut self) {
        let mut digests: HashMap<String, String> = self
            .materials
            .iter()
            .map(|material| (material.url.clone(), material.digest.clone()))
            .collect();
        // Answers may have been recorded in any order, so it takes as many rounds as there are steps.
        loop {
            let before = self.materials.len();
            for request in &self.requests {
                let Some(target) = &request.redirect_target else {
                    continue;
                };
                if digests.contains_key(&request.url) {
                    continue;
                }
                if let Some(digest) = digests.get(target).cloned() {
                    digests.insert(request.url.clone(), digest.clone());
                    self.materials.push(Material {
                        url: request.url.clone(),
                        digest,
                    });
                }
            }
            if self.materials.len() == before {
                return;
            }
        }
    }
}
