//! Connects to a daemon as the command line says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_client::{Address, Client, ConnectOptions, Identity, Tls};

use crate::arguments::DaemonArguments;
use crate::failure::Failure;

/// A connection to the daemon at an address.
pub(crate) async fn connect(
    address: &Address,
    arguments: &DaemonArguments,
) -> Result<Client, Failure> {
    let options = ConnectOptions {
        tls: tls(arguments)?,
        timeout: timeout(arguments),
        wait: arguments.wait,
    };
    Ok(Client::connect(address, &options).await?)
}

/// How long connecting may take.
pub(crate) fn timeout(arguments: &DaemonArguments) -> Option<Duration> {
    let seconds = u64::try_from(arguments.timeout).ok();
    seconds.filter(|it| *it > 0).map(Duration::from_secs)
}

/// TLS is used if any certificate is given.
pub(crate) fn tls(arguments: &DaemonArguments) -> Result<Option<Tls>, Failure> {
    let (ca, certificate, key) = match &arguments.tlsdir {
        None => (
            arguments.tlscacert.clone(),
            arguments.tlscert.clone(),
            arguments.tlskey.clone(),
        ),
        Some(_)
            if arguments.tlscacert.is_some()
                || arguments.tlscert.is_some()
                || arguments.tlskey.is_some() =>
        {
            return Err(Failure::usage(
                "cannot specify tlsdir and tlscacert/tlscert/tlskey at the same time",
            ));
        }
        Some(dir) => (
            Some(one_of(dir, ["ca.pem", "ca.crt"])?),
            Some(one_of(dir, ["cert.pem", "tls.crt"])?),
            Some(one_of(dir, ["key.pem", "tls.key"])?),
        ),
    };
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        _ => {
            return Err(Failure::usage(
                "--tlscert and --tlskey belong together: give both or none",
            ));
        }
    };
    let server_name = arguments.tlsservername.clone();
    Ok((ca.is_some() || identity.is_some()).then_some(Tls {
        server_name: server_name.filter(|name| !name.is_empty()),
        ca,
        identity,
    }))
}

fn one_of(dir: &Path, names: [&str; 2]) -> Result<PathBuf, Failure> {
    let mut paths = names.iter().map(|name| dir.join(name));
    paths.find(|path| path.exists()).ok_or_else(|| {
        Failure::usage(format!(
            "--tlsdir {}: directory did not contain one of the needed files: {} or {}",
            dir.display(),
            names[0],
            names[1]
        ))
    })
}
