//! Registry credentials from `$DOCKER_CONFIG/config.json` and the helpers it
//! names.

use std::path::PathBuf;

use async_trait::async_trait;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use kiln_registry::{Client, ClientOptions, Hosts, ProxySettings};
use kiln_session::{Credential, Credentials, LoginIdentity, SessionError, Token, TokenRequest};

use crate::fields;

/// How Docker Hub is spelt in configuration files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The user's Docker configuration.
pub(super) struct DockerConfig {
    folder: Option<PathBuf>,
    path: Option<PathBuf>,
    /// How token servers are reached, where the user says so.
    token_servers: Hosts,
}

impl DockerConfig {
    /// Finds the file; `$DOCKER_CONFIG` defaults to `~/.docker`.
    pub(super) fn load(token_servers: Hosts) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dir = variable("DOCKER_CONFIG").map(PathBuf::from);
        let dir = dir.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".docker")));
        let path = dir.as_ref().map(|dir| dir.join("config.json"));
        Self {
            path: path.filter(|path| path.is_file()),
            folder: dir,
            token_servers,
        }
    }

    /// Where it is kept which sessions share a login; `None` if daemons are to get
    /// the logins themselves.
    pub(super) fn token_seeds(&self) -> Option<PathBuf> {
        let value = std::env::var("BUILDKIT_NO_CLIENT_TOKEN").unwrap_or_default();
        let is_off = fields::boolean(&value) == Some(true);
        self.folder.clone().filter(|_| !is_off)
    }
}

#[async_trait]
impl Credentials for DockerConfig {
    async fn credential(&self, host: &str) -> Result<Credential, SessionError> {
        let Some(path) = self.path.clone() else {
            return Ok(Credential::Anonymous);
        };
        let host = host.to_owned();
        // Helpers are programs and may take their time.
        let task = tokio::task::spawn_blocking(move || lookup(&path, &host));
        task.await.unwrap_or_else(|error| {
            Err(SessionError::Provider {
                what: "credentials".into(),
                message: error.to_string(),
            })
        })
    }

    fn fetches_tokens(&self) -> bool {
        true
    }

    async fn identity(&self, _host: &str) -> Result<Option<LoginIdentity>, SessionError> {
        // The engine in this process is the user's own, and fetches tokens itself, unless
        // the user has said how to.
        let is_asked = !self.token_servers.is_empty();
        Ok(is_asked.then_some(LoginIdentity([0; 32])))
    }

    async fn token(&self, request: &TokenRequest) -> Result<Option<Token>, SessionError> {
        let failed = |error: &dyn std::fmt::Display| SessionError::Provider {
            what: format!("token for {}", request.host),
            message: error.to_string(),
        };
        let client = Client::new(ClientOptions {
            hosts: self.token_servers.clone(),
            proxy: ProxySettings::from_variables(|name| std::env::var(name).ok()),
            ..ClientOptions::default()
        });
        let client = client.map_err(|error| failed(&error))?;
        let credential = match self.credential(&request.host).await? {
            Credential::Anonymous => kiln_registry::Credential::Anonymous,
            Credential::Basic { username, password } => {
                kiln_registry::Credential::Basic { username, password }
            }
            Credential::IdentityToken(token) => kiln_registry::Credential::IdentityToken(token),
        };
        let request = kiln_registry::TokenRequest {
            host: request.host.clone(),
            realm: request.realm.clone(),
            service: request.service.clone(),
            scopes: request.scopes.clone(),
        };
        let token = client.fetch_token(&request, &credential).await;
        let token = token.map_err(|error| failed(&error))?;
        Ok(Some(Token {
            value: token.value,
            expires_in: token.expires_in,
        }))
    }
}

fn lookup(path: &std::path::Path, host: &str) -> Result<Credential, SessionError> {
    let file = |source| SessionError::Path {
        path: path.to_path_buf(),
        source,
    };
    let text = std::fs::read(path).map_err(file)?;
    let names: &[&str] = match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => &[DOCKER_HUB, "docker.io"],
        host => &[host],
    };
    for name in names {
        match docker_credential::get_credential_from_reader(text.as_slice(), name) {
            Ok(DockerCredential::IdentityToken(token)) => {
                return Ok(Credential::IdentityToken(token));
            }
            Ok(DockerCredential::UsernamePassword(username, password)) => {
                return Ok(Credential::Basic { username, password });
            }
            Err(error) => {
                if let Some(message) = complaint(error) {
                    return Err(SessionError::Provider {
                        what: format!("credentials for {host} from {}", path.display()),
                        message,
                    });
                }
            }
        }
    }
    Ok(Credential::Anonymous)
}

/// What is wrong, unless there just is no credential. Helpers that have none fail, and say so.
fn complaint(error: CredentialRetrievalError) -> Option<String> {
    use CredentialRetrievalError as Error;
    Some(match error {
        Error::NoCredentialConfigured => return None,
        Error::HelperFailure {
            helper,
            stdout,
            stderr,
        } => {
            let said = format!("{} {}", stdout.trim(), stderr.trim());
            if said.contains("credentials not found") || said.contains("no credentials server URL")
            {
                return None;
            }
            format!(
                "{helper} failed: {}; log in again, or leave the helper out",
                said.trim()
            )
        }
        Error::HelperCommunicationError => {
            "the credential helper named there (credsStore, credHelpers) cannot be run: install \
             docker-credential-NAME somewhere in PATH, or leave it out"
                .into()
        }
        Error::MalformedHelperResponse => {
            "the credential helper's answer is not the JSON it should be".into()
        }
        Error::CredentialDecodingError => {
            "the entry's auth is not USER:PASSWORD in base64: log in again".into()
        }
        Error::CredentialMismatchError => {
            "the entry's auth and its username and password differ: log in again".into()
        }
        Error::ConfigReadError | Error::ConfigNotFound => "the file is not valid JSON".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dir: &std::path::Path, config: &str, expected: Result<Credential, &str>) {
        let path = dir.join("config.json");
        std::fs::write(&path, config).expect("write");
        match (lookup(&path, "registry.test"), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{config}"),
            (Err(error), Err(expected)) => {
                let text = error.to_string();
                assert!(text.contains(expected), "{config}: {text}");
                assert!(
                    text.contains("registry.test") && text.contains("config.json"),
                    "{text}"
                );
            }
            (found, expected) => panic!("{config}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn helpers_that_fail() {
        let failure = |stdout: &str, stderr: &str| {
            complaint(CredentialRetrievalError::HelperFailure {
                helper: "docker-credential-x".into(),
                stdout: stdout.into(),
                stderr: stderr.into(),
            })
        };
        assert_eq!(
            failure("credentials not found in native keychain\n", ""),
            None
        );
        let text = failure("", "keychain is locked").expect("a complaint");
        assert!(
            text.starts_with("docker-credential-x failed: keychain is locked;"),
            "{text}"
        );
    }

    #[test]
    fn every_kind_of_entry() {
        let dir = tempfile::tempdir().expect("directory");
        let basic = |username: &str, password: &str| {
            Ok(Credential::Basic {
                username: username.into(),
                password: password.into(),
            })
        };
        let check = |config: &str, expected| check(dir.path(), config, expected);
        check("{}", Ok(Credential::Anonymous));
        check(
            r#"{"auths":{"registry.test":{}}}"#,
            Ok(Credential::Anonymous),
        );
        check(
            r#"{"auths":{"registry.test":{"auth":"bWU6cHc6eA=="}}}"#,
            basic("me", "pw:x"),
        );
        check(
            r#"{"auths":{"https://registry.test/v1/":{"auth":"bWU6cHc="}}}"#,
            basic("me", "pw"),
        );
        check(
            r#"{"auths":{"registry.test":{"auth":"bWU6","identitytoken":"refresh"}}}"#,
            Ok(Credential::IdentityToken("refresh".into())),
        );
        check(
            r#"{"auths":{"registry.test":{"auth":"???"}}}"#,
            Err("is not USER:PASSWORD in base64"),
        );
        check("{", Err("not valid JSON"));
        check(
            r#"{"credHelpers":{"registry.test":"there-is-none"}}"#,
            Err("cannot be run: install docker-credential-NAME"),
        );
    }
}
