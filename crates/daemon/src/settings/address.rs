//! Addresses to listen on.

use std::path::PathBuf;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host and port.
    Tcp(String),
    /// The sockets that the service manager passes.
    Activated,
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!(
                "address {text} does not contain proto, you meant unix://{text} ?"
            ));
        };
        match (scheme, rest) {
            ("unix" | "tcp", "") => Err(format!("address {text} names no place to listen at")),
            ("unix", path) => Ok(Self::Unix(path.into())),
            ("tcp", host) => Ok(Self::Tcp(host.into())),
            ("fd", "") => Ok(Self::Activated),
            ("fd", _) => Err(format!(
                "addr {text} not supported: sockets cannot be selected, write fd:// for all that are passed"
            )),
            _ => Err(format!(
                "addr {text} not supported: use unix://PATH, tcp://HOST:PORT or fd://"
            )),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Activated => f.write_str("fd://"),
        }
    }
}
