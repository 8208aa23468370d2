//! Registry credentials from `$DOCKER_CONFIG/config.json` and the helpers it
//! names.

use std::path::PathBuf;

use async_trait::async_trait;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use kiln_session::{Credential, Credentials, SessionError};

/// How Docker Hub is spelt in configuration files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The user's Docker configuration.
pub(super) struct DockerConfig {
    path: Option<PathBuf>,
}

impl DockerConfig {
    /// Finds the file; `$DOCKER_CONFIG` defaults to `~/.docker`.
    pub(super) fn load() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dir = variable("DOCKER_CONFIG").map(PathBuf::from);
        let dir = dir.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".docker")));
        Self {
            path: dir
                .map(|dir| dir.join("config.json"))
                .filter(|path| path.is_file()),
        }
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
            Err(
                CredentialRetrievalError::NoCredentialConfigured
                | CredentialRetrievalError::HelperFailure { .. },
            ) => {}
            Err(error) => {
                return Err(SessionError::Provider {
                    what: format!("credentials for {host} from {}", path.display()),
                    message: format!("{error:?}"),
                });
            }
        }
    }
    Ok(Credential::Anonymous)
}
