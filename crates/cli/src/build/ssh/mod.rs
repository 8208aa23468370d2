//! `--ssh`: agents, sockets and keys that steps may use.

mod keys;

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kiln_session::{SessionError, SocketProtocol, Ssh, SshSocket};

use crate::failure::Failure;
use keys::KeyAgent;

/// Agents by id.
#[derive(Debug)]
pub(super) struct Agents(BTreeMap<String, Source>);

/// What serves one id.
#[derive(Debug, Clone)]
enum Source {
    /// An agent that the user runs.
    Agent(PathBuf),
    /// Any socket; all that is said over it is passed on.
    Raw(PathBuf),
    /// An agent that this process runs for the user's key files.
    Keys(Arc<KeyAgent>),
}

impl Agents {
    /// Reads `--ssh` values: `default|<id>[=<socket>[,raw=false]|<key>[,<key>]]`.
    pub(super) fn parse(values: &[String]) -> Result<Self, Failure> {
        let mut agents = BTreeMap::new();
        for value in values {
            let (id, paths) = value.split_once('=').unwrap_or((value, ""));
            let id = if id.is_empty() { "default" } else { id };
            let source = source(id, paths)?;
            if agents.insert(id.to_owned(), source).is_some() {
                return Err(Failure::usage(format!("duplicate agent ID {id:?}")));
            }
        }
        Ok(Self(agents))
    }
}

fn source(id: &str, value: &str) -> Result<Source, Failure> {
    let mut is_raw = false;
    let mut paths = Vec::new();
    for part in value.split(',').filter(|part| !part.is_empty()) {
        match part.strip_prefix("raw=") {
            None => paths.push(PathBuf::from(part)),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => is_raw = true,
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => is_raw = false,
            Some(other) => {
                return Err(Failure::usage(format!("invalid value for 'raw': {other}")));
            }
        }
    }
    if is_raw && paths.len() != 1 {
        return Err(Failure::usage(format!(
            "raw mode must supply exactly one socket path for {id:?}"
        )));
    }
    if paths.is_empty() {
        let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        let agent = agent.ok_or_else(|| {
            Failure::usage(format!(
                "--ssh {id}: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
            ))
        })?;
        paths.push(agent.into());
    }
    let mut sockets = 0;
    for path in &paths {
        let metadata = std::fs::metadata(path);
        let metadata = metadata
            .map_err(|error| Failure::usage(format!("--ssh {id}: {}: {error}", path.display())))?;
        sockets += usize::from(metadata.file_type().is_socket());
    }
    match (sockets, paths.as_slice()) {
        (1, [socket]) if is_raw => Ok(Source::Raw(socket.clone())),
        (1, [socket]) => Ok(Source::Agent(socket.clone())),
        (0, [path]) if is_raw => Err(Failure::usage(format!(
            "--ssh {id}: raw mode only supported with socket paths, and {} is none",
            path.display()
        ))),
        (0, keys) => Ok(Source::Keys(Arc::new(KeyAgent::start(id, keys)?))),
        _ => Err(Failure::usage(format!(
            "--ssh {id}: invalid combination of keys and sockets: only single socket allowed"
        ))),
    }
}

/// A socket by its path; an agent of ours lives as long as it.
struct Socket {
    path: PathBuf,
    protocol: SocketProtocol,
    _agent: Option<Arc<KeyAgent>>,
}

impl SshSocket for Socket {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn protocol(&self) -> SocketProtocol {
        self.protocol
    }
}

#[async_trait]
impl Ssh for Agents {
    async fn agent(&self, id: &str) -> Result<Option<Box<dyn SshSocket>>, SessionError> {
        let id = if id.is_empty() { "default" } else { id };
        let socket = |path: &PathBuf, protocol, agent| Socket {
            path: path.clone(),
            protocol,
            _agent: agent,
        };
        Ok(self.0.get(id).map(|source| {
            Box::new(match source {
                Source::Agent(path) => socket(path, SocketProtocol::Agent, None),
                Source::Raw(path) => socket(path, SocketProtocol::Raw, None),
                Source::Keys(agent) => {
                    socket(&agent.socket(), SocketProtocol::Agent, Some(agent.clone()))
                }
            }) as Box<dyn SshSocket>
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_explained() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let socket = dir.path().join("socket");
        std::fs::write(&file, "not a key").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let (file, socket) = (file.display(), socket.display());
        let check = |values: &[String], expected: &str| {
            let Err(Failure::Usage(message)) = Agents::parse(values) else {
                panic!("{values:?} was taken");
            };
            assert!(message.contains(expected), "{values:?}: {message}");
        };
        check(
            &["a=,raw=perhaps".into()],
            "invalid value for 'raw': perhaps",
        );
        check(
            &["a=raw=true".into()],
            "raw mode must supply exactly one socket path for \"a\"",
        );
        check(
            &[format!("a={file},raw=true")],
            "raw mode only supported with socket paths",
        );
        check(
            &[format!("a={socket},{file}")],
            "invalid combination of keys and sockets",
        );
        check(&["a=/none".into()], "/none: No such file");
        check(&[format!("a={file}")], "--ssh a: the keys cannot be used");
        let twice = format!("a={socket}");
        check(&[twice.clone(), twice], "duplicate agent ID \"a\"");
    }
}
