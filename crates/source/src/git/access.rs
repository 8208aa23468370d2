//! What gives git access to one repository: headers from secrets, an agent, known hosts.

use std::ffi::OsString;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_llb::git_url::unescape;
use kiln_session::{Session, SocketOwner, SshSocket};
use tempfile::NamedTempFile;

use super::error::GitError;
use super::identifier::GitIdentifier;
use crate::error::SourceError;

/// On GitHub, what opens one repository is tried for the others, too: actions/checkout does the same.
const GITHUB: [&str; 2] = ["https://github.com/", "https://www.github.com/"];

/// The owner's alone.
const SOCKET_MODE: u32 = 0o700;

/// Access to one repository. Agents and files go with it.
#[derive(Default)]
pub(super) struct Access {
    settings: Vec<(String, String)>,
    agent: Option<Box<dyn SshSocket>>,
    known_hosts: Option<NamedTempFile>,
}

/// A repository's address in parts.
pub(super) struct Address {
    /// Without credentials if it is one of the web: that is what git is given.
    pub(super) url: String,
    /// Host with port; empty if it is not one of the web.
    host: String,
    /// `user:password` of the address.
    credentials: Option<String>,
}

impl Address {
    pub(super) fn of(remote: &str) -> Self {
        let plain = Self {
            url: remote.to_owned(),
            host: String::new(),
            credentials: None,
        };
        let Some((scheme, rest)) = remote.split_once("://") else {
            return plain;
        };
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return plain;
        }
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        Self {
            url: format!("{scheme}://{host}{path}"),
            host: host.to_owned(),
            credentials: user.map(with_password).filter(|user| user != ":"),
        }
    }

    /// The server.
    fn origin(&self) -> String {
        let (scheme, _) = self.url.split_once("://").unwrap_or_default();
        format!("{scheme}://{}/", self.host)
    }
}

fn with_password(user: &str) -> String {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    format!("{}:{}", unescape(name), unescape(password))
}

/// A secret that may open a repository.
struct Candidate {
    secret: String,
    /// The addresses that it is for begin so.
    scope: String,
    is_token: bool,
}

impl Access {
    /// What the clients lend for a repository. `main` is the one that the build names, which may be another one
    /// that has this one as submodule.
    pub(super) async fn new(
        identifier: &GitIdentifier,
        main: &Address,
        address: &Address,
        sessions: &[Session],
    ) -> Result<Self, SourceError> {
        let mut access = Self::default();
        if !address.host.is_empty() {
            access
                .settings
                .extend(header(identifier, main, address, sessions).await?);
            return Ok(access);
        }
        if !identifier.ssh_agent.is_empty() {
            access.agent = Some(agent(identifier, sessions).await?);
        }
        if !identifier.known_hosts.is_empty() {
            let lines = identifier.known_hosts.clone();
            let written = tokio::task::spawn_blocking(move || write_lines(&lines)).await;
            let written = written.map_err(|error| SourceError::Internal(error.to_string()))?;
            access.known_hosts = Some(written.map_err(GitError::Run)?);
        }
        Ok(access)
    }

    /// Settings with credentials in them.
    pub(super) fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Variables for git and ssh.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        // The machine's own keys and lists of hosts are nobody's to use.
        let mut ssh: OsString =
            "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none -o GlobalKnownHostsFile=/dev/null"
                .into();
        match &self.known_hosts {
            Some(file) => {
                ssh.push(" -o StrictHostKeyChecking=yes -o UserKnownHostsFile=");
                ssh.push(file.path());
            }
            None => ssh.push(
                " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            ),
        }
        let mut environment = vec![("GIT_SSH_COMMAND", ssh)];
        if let Some(agent) = &self.agent {
            environment.push(("SSH_AUTH_SOCK", agent.path().into()));
        }
        environment
    }
}

/// The header that opens a repository: from the build's secrets, or from the address itself.
async fn header(
    identifier: &GitIdentifier,
    main: &Address,
    address: &Address,
    sessions: &[Session],
) -> Result<Option<(String, String)>, SourceError> {
    for candidate in candidates(identifier, main, address) {
        for session in sessions {
            let Some(value) = session.secrets.secret(&candidate.secret).await? else {
                continue;
            };
            let value = std::str::from_utf8(value.trim_ascii()).unwrap_or_default();
            if value.is_empty() || value.contains(|c: char| c.is_control()) {
                return Err(GitError::Secret {
                    id: candidate.secret,
                    reason: "is no value of a header",
                }
                .into());
            }
            let value = match candidate.is_token {
                true => basic(&format!("x-access-token:{value}")),
                false => value.to_owned(),
            };
            return Ok(Some(setting(&candidate.scope, &value)));
        }
    }
    let own = address.credentials.as_deref().map(basic);
    Ok(own.map(|value| setting(&address.origin(), &value)))
}

/// Secrets for the host come before those for any, headers before tokens. What is for any host opens only the
/// repository that the build names.
fn candidates(identifier: &GitIdentifier, main: &Address, address: &Address) -> Vec<Candidate> {
    let (header, token) = (&identifier.header_secret, &identifier.token_secret);
    let secrets = [(header, false), (token, true)];
    let secrets = || secrets.into_iter().filter(|(name, _)| !name.is_empty());
    let github = GITHUB.into_iter().find(|it| main.url.starts_with(it));
    let scope = github.unwrap_or(&main.url);
    let of_host = secrets().map(|(name, is_token)| Candidate {
        secret: format!("{name}.{}", address.host),
        scope: address.origin(),
        is_token,
    });
    let of_any = secrets().map(|(name, is_token)| Candidate {
        secret: name.clone(),
        scope: scope.to_owned(),
        is_token,
    });
    let of_any = of_any.filter(|it| match github {
        Some(prefix) => address.url.starts_with(prefix),
        None => address.url == it.scope,
    });
    of_host.chain(of_any).collect()
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn setting(scope: &str, value: &str) -> (String, String) {
    (
        format!("http.{scope}.extraheader"),
        format!("Authorization: {value}"),
    )
}

async fn agent(
    identifier: &GitIdentifier,
    sessions: &[Session],
) -> Result<Box<dyn SshSocket>, SourceError> {
    for session in sessions {
        if let Some(socket) = session.ssh.agent(&identifier.ssh_agent).await? {
            socket.give_to(SocketOwner {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
                mode: SOCKET_MODE,
            })?;
            return Ok(socket);
        }
    }
    Err(GitError::NoAgent {
        agent: identifier.ssh_agent.clone(),
        remote: identifier.shown(),
    }
    .into())
}

fn write_lines(lines: &str) -> std::io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".kiln-hosts-").tempfile()?;
    file.write_all(lines.as_bytes())?;
    file.write_all(b"\n")?;
    Ok(file)
}
