//! The `WWW-Authenticate` header.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// How a registry wants to be shown who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token of an authorization server.
    Bearer(BearerChallenge),
    /// User and password.
    Basic,
}

/// Where to fetch which token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BearerChallenge {
    pub(crate) realm: String,
    pub(crate) service: String,
    pub(crate) scopes: Vec<String>,
    /// `insufficient_scope`, `invalid_token`: why the token we showed is not enough.
    pub(crate) error: Option<String>,
}

/// The best challenge we can answer: bearer before basic.
pub(crate) fn parse(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        match parse_one(text) {
            Some(bearer @ Challenge::Bearer(_)) => return Some(bearer),
            Some(Challenge::Basic) => found = Some(Challenge::Basic),
            None => {}
        }
    }
    found
}

fn parse_one(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            let mut parameters = parse_parameters(rest);
            let scope = parameters.remove("scope").unwrap_or_default();
            Some(Challenge::Bearer(BearerChallenge {
                realm: parameters.remove("realm").unwrap_or_default(),
                service: parameters.remove("service").unwrap_or_default(),
                scopes: scope.split_whitespace().map(str::to_owned).collect(),
                error: parameters.remove("error").filter(|error| !error.is_empty()),
            }))
        }
        _ => None,
    }
}

/// `key=token, key="quoted \"text\""` until something else comes.
fn parse_parameters(text: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => take_quoted(quoted),
            None => {
                let end = after.find([',', ' ']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        parameters.insert(key.trim().to_ascii_lowercase(), value);
        let Some(next) = after.trim_start().strip_prefix(',') else {
            break;
        };
        rest = next.trim_start();
    }
    parameters
}

fn take_quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &text[index + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: Option<Challenge>) {
        assert_eq!(parse_one(header), expected, "{header}");
    }

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: &str, scopes: &[&str], error: Option<&str>| {
            Some(Challenge::Bearer(BearerChallenge {
                realm: realm.to_owned(),
                service: service.to_owned(),
                scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
                error: error.map(str::to_owned),
            }))
        };
        check("Basic realm=\"x\"", Some(Challenge::Basic));
        check("basic", Some(Challenge::Basic));
        check("Negotiate abc", None);
        check(
            r#"Bearer realm="https://auth/token",service="reg",scope="repository:a/b:pull,push repository:c:pull""#,
            bearer(
                "https://auth/token",
                "reg",
                &["repository:a/b:pull,push", "repository:c:pull"],
                None,
            ),
        );
        check(
            r#"BEARER Realm="https://a/", error="insufficient_scope" , service=plain"#,
            bearer("https://a/", "plain", &[], Some("insufficient_scope")),
        );
        check(
            r#"Bearer realm="with \"quotes\" and, comma""#,
            bearer("with \"quotes\" and, comma", "", &[], None),
        );
        check("Bearer", bearer("", "", &[], None));
        check(
            r#"Bearer realm="unterminated"#,
            bearer("unterminated", "", &[], None),
        );
    }
}
