//! Where a Docker engine listens.

use std::path::{Path, PathBuf};

use crate::DockerError;

/// Where an engine listens unless it is told otherwise.
const DEFAULT: &str = "/var/run/docker.sock";

/// The unix socket of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(PathBuf);

impl Address {
    /// What begins an address.
    pub const SCHEME: &str = "docker://";

    /// Reads `docker:///PATH/TO/SOCKET`, or `docker://` for the engine that `DOCKER_HOST` names, whose value is
    /// `host`.
    pub fn parse(address: &str, host: Option<&str>) -> Result<Self, DockerError> {
        let invalid = |reason| DockerError::Address {
            address: address.to_owned(),
            reason,
        };
        let path = address.strip_prefix(Self::SCHEME);
        let path = path.ok_or_else(|| invalid("write docker:// or docker:///PATH/TO/SOCKET"))?;
        match (path, host) {
            ("", None | Some("")) => Ok(Self(DEFAULT.into())),
            ("", Some(host)) => Self::of_host(host),
            (path, _) if path.starts_with('/') => Ok(Self(path.into())),
            _ => Err(invalid(
                "what follows docker:// is the absolute path of a unix socket: docker:///PATH/TO/SOCKET",
            )),
        }
    }

    fn of_host(host: &str) -> Result<Self, DockerError> {
        let path = host
            .strip_prefix("unix://")
            .filter(|path| path.starts_with('/'));
        match path {
            Some(path) => Ok(Self(path.into())),
            None => Err(DockerError::Address {
                address: host.to_owned(),
                reason: "images are delivered over unix sockets only (DOCKER_HOST=unix:///PATH/TO/SOCKET); \
                         for other engines leave out dest= and pipe the image into docker load",
            }),
        }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
