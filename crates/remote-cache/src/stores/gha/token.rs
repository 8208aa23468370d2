//! What the token of a job says: which scopes it may read and write, and how long it is valid.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The second bit of a permission.
const WRITE: u64 = 2;
/// More scopes than any job has.
const MOST_SCOPES: usize = 64;

/// A token's claims. It is the service that checks its signature.
pub(super) struct Token {
    pub(super) scopes: Vec<Scope>,
}

/// A branch or pull request, and what may be done with its entries.
#[derive(Deserialize)]
pub(super) struct Scope {
    #[serde(rename = "Scope", alias = "scope")]
    pub(super) name: String,
    #[serde(rename = "Permission", alias = "permission")]
    permission: u64,
}

impl Scope {
    pub(super) fn may_write(&self) -> bool {
        self.permission & WRITE != 0
    }
}

#[derive(Deserialize)]
struct Claims {
    ac: String,
    exp: f64,
    nbf: f64,
}

impl Token {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let invalid = |reason: &str| format!("the token is no runtime token of a job: {reason}");
        let claims = text.split('.').nth(1);
        let claims = claims.ok_or_else(|| invalid("it is no JWT"))?;
        let claims = URL_SAFE_NO_PAD
            .decode(claims.trim_end_matches('='))
            .map_err(|_| invalid("its claims are not in base64"))?;
        let claims: Claims = serde_json::from_slice(&claims)
            .map_err(|_| invalid("it lacks the claims ac, exp and nbf"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0.0, |now| now.as_secs_f64());
        if now >= claims.exp {
            return Err("the token has expired: jobs have one for some hours only".to_owned());
        }
        if now < claims.nbf {
            return Err("the token is not valid yet: is the clock right?".to_owned());
        }
        let scopes: Vec<Scope> = serde_json::from_str(&claims.ac)
            .map_err(|_| invalid("its claim ac is no list of scopes"))?;
        if scopes.is_empty() || scopes.len() > MOST_SCOPES {
            return Err(invalid("it has no scopes, or too many"));
        }
        Ok(Self { scopes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn claims() {
        let text = token(
            r#"{"ac":"[{\"Scope\":\"refs/heads/a\",\"Permission\":3},{\"Scope\":\"refs/heads/main\",\"Permission\":1}]","exp":99999999999,"nbf":0}"#,
        );
        let scopes = Token::read(&text).map(|token| token.scopes).unwrap();
        let read: Vec<_> = scopes
            .iter()
            .map(|scope| (scope.name.as_str(), scope.may_write()))
            .collect();
        assert_eq!(read, [("refs/heads/a", true), ("refs/heads/main", false)]);
    }

    #[test]
    fn refused() {
        let check = |text: &str, expected: &str| {
            let error = Token::read(text).err().unwrap();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("hush", "no JWT");
        check("a.%%.b", "base64");
        check(&token("{}"), "lacks");
        check(
            &token(r#"{"ac":"[]","exp":99999999999,"nbf":0}"#),
            "no scopes",
        );
        check(&token(r#"{"ac":"{","exp":99999999999,"nbf":0}"#), "no list");
        check(&token(r#"{"ac":"[]","exp":1,"nbf":0}"#), "expired");
        check(
            &token(r#"{"ac":"[]","exp":99999999999,"nbf":99999999998}"#),
            "not valid yet",
        );
    }
}
