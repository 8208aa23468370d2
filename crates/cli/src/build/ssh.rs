//! `--ssh`: agents that steps may use.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

use async_trait::async_trait;
use kiln_session::{SessionError, Ssh, SshSocket};

use crate::failure::Failure;

/// Agent sockets by id.
pub(super) struct Agents(BTreeMap<String, PathBuf>);

impl Agents {
    /// Reads `--ssh` values: `default`, or `ID=SOCKET`.
    pub(super) fn parse(values: &[String]) -> Result<Self, Failure> {
        let mut agents = BTreeMap::new();
        for value in values {
            let (id, paths) = value.split_once('=').unwrap_or((value, ""));
            let id = if id.is_empty() { "default" } else { id };
            let socket = socket_of(id, paths)?;
            if agents.insert(id.to_owned(), socket).is_some() {
                return Err(Failure::usage(format!("duplicate agent ID {id:?}")));
            }
        }
        Ok(Self(agents))
    }
}

fn socket_of(id: &str, paths: &str) -> Result<PathBuf, Failure> {
    let paths = paths
        .split(',')
        .filter(|path| !path.is_empty() && !path.starts_with("raw="));
    let socket = match paths.collect::<Vec<_>>().as_slice() {
        [] => std::env::var_os("SSH_AUTH_SOCK")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        [path] => Some(PathBuf::from(path)),
        _ => {
            return Err(Failure::usage(format!(
                "--ssh {id}: only single socket allowed"
            )));
        }
    };
    let socket = socket.ok_or_else(|| {
        Failure::usage(format!(
            "--ssh {id}: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
        ))
    })?;
    let metadata = std::fs::metadata(&socket)
        .map_err(|error| Failure::usage(format!("--ssh {id}: {}: {error}", socket.display())))?;
    if !metadata.file_type().is_socket() {
        return Err(Failure::usage(format!(
            "--ssh {id}: {} is not a socket; private key files are not supported yet, \
             add the key to an agent with ssh-add",
            socket.display()
        )));
    }
    Ok(socket)
}

/// An agent's socket as the user's own agent serves it.
struct Socket(PathBuf);

impl SshSocket for Socket {
    fn path(&self) -> PathBuf {
        self.0.clone()
    }
}

#[async_trait]
impl Ssh for Agents {
    async fn agent(&self, id: &str) -> Result<Option<Box<dyn SshSocket>>, SessionError> {
        let id = if id.is_empty() { "default" } else { id };
        let socket = self.0.get(id).cloned();
        Ok(socket.map(|path| Box::new(Socket(path)) as Box<dyn SshSocket>))
    }
}
