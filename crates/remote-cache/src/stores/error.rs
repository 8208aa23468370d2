//! What goes wrong with stores, without anything secret.

use kiln_registry::RegistryError;
use kiln_store::content::ContentError;

/// Answers of servers are quoted up to this length.
const LONGEST: usize = 300;

/// Why something could not be done in a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store, or the way there, said no.
    #[error("{action} {title}: {reason}")]
    Failed {
        /// What was tried, up to the store's title: `read X from`.
        action: String,
        /// The store.
        title: String,
        /// What it said.
        reason: String,
    },
    /// The store cannot be spoken to at all.
    #[error("set up access to {title}: {reason}")]
    Setup {
        /// The store.
        title: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// A blob of ours cannot be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A blob of ours cannot be read.
    #[error("read blob {digest}: {source}")]
    Io {
        /// The blob.
        digest: String,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] Box<RegistryError>),
    /// The thread that did the work has ended unexpectedly.
    #[error("the work ended unexpectedly")]
    Ended,
}

/// An error of the object stores' library in its own words, cut down to what cannot hold secrets: servers that refuse a
/// signature answer with all that was signed, session tokens among it.
pub(crate) fn describe(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    answer(&text)
}

/// The status and what the server calls the matter, if this is an answer of one; else the text, with queries of URLs
/// left out.
fn answer(text: &str) -> String {
    const STATUS: &str = "non-2xx status code: ";
    let Some((_, answer)) = text.split_once(STATUS) else {
        return shorten(&without_queries(text));
    };
    let body = answer.find(['<', '{']).unwrap_or(answer.len());
    let (status, body) = answer.split_at(body);
    let status = status.lines().next().unwrap_or_default();
    let status = status.trim().trim_end_matches(':');
    match told(body) {
        Some(told) => shorten(&format!("{status}: {told}")),
        None => status.to_owned(),
    }
}

/// `Code: Message` of an error in XML or in JSON.
pub(crate) fn told(body: &str) -> Option<String> {
    let element = |name: &str| {
        let (_, rest) = body.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once("</")?;
        Some(text.lines().next().unwrap_or_default().trim().to_owned())
    };
    let json = || {
        let value: serde_json::Value = serde_json::from_str(body).ok()?;
        let at = |key: &str| {
            let found = value.get(key).or_else(|| value.get("error")?.get(key))?;
            Some(found.as_str()?.to_owned())
        };
        at("message").or_else(|| at("msg")).or_else(|| at("code"))
    };
    let told = match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => code.or(message).or_else(json),
    };
    told.map(|told| shorten(&without_queries(&told)))
}

/// Queries may be signatures.
pub(crate) fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('?') {
        Some((url, _)) if url.contains("://") => format!("{url}?…"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut_down() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>The request \
             signature does not match.</Message><CanonicalRequest>x-amz-security-token:hush\
             </CanonicalRequest></Error>";
        let text = format!(
            "Generic S3 error: Error performing PUT http://h/b/k in 1ms - Server returned non-2xx \
             status code: 403 Forbidden: {body}"
        );
        assert_eq!(
            answer(&text),
            "403 Forbidden: SignatureDoesNotMatch: The request signature does not match."
        );
        assert_eq!(
            answer("error at https://h/b?sig=hush in 1ms: refused"),
            "error at https://h/b?… in 1ms: refused"
        );
        assert_eq!(told(r#"{"error":{"message":"no"}}"#).as_deref(), Some("no"));
        assert!(answer(&"x".repeat(1000)).len() < 400);
    }
}
