//! Where a daemon is reached: the address schemes of `--addr`.

use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

/// Schemes that an error names.
const KNOWN: &str = "unix://, tcp://, docker-container://, podman-container://, \
                     nerdctl-container://, kube-pod://, ssh://";

/// Where a daemon is reached.
///
/// ```
/// use kiln_client::Address;
///
/// let address: Address = "tcp://builder.example:1234".parse()?;
/// assert_eq!(address.host(), Some("builder.example"));
/// # Ok::<(), kiln_client::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A host and a port.
    Tcp {
        /// Host name or IP address, the latter without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A program whose standard input and output lead to a daemon.
    Command {
        /// The address as it was written.
        written: String,
        /// The program, looked up in `PATH`.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid address {address:?}: {reason}")]
pub struct AddressError {
    /// The text.
    pub address: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Address {
    /// The daemon's host, which its certificate must be for.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host),
            Self::Unix(_) | Self::Command { .. } => None,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Command { written, .. } => f.write_str(written),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text).map_err(|reason| AddressError {
            address: text.to_owned(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Address, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("it has no scheme; write one of {KNOWN}"));
    };
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Address::Unix(rest.into())),
        "unix" => Err("the socket's path must be absolute, as in unix:///run/a.sock".into()),
        "npipe" => Err("npipe connections are only supported on windows".into()),
        "fd" => Err("fd:// is where a daemon listens; a client cannot connect to it".into()),
        _ => {
            let url = Url::parse(text).map_err(|error| error.to_string())?;
            let command = |(program, arguments): (&str, Vec<String>)| Address::Command {
                written: text.to_owned(),
                program: program.to_owned(),
                arguments,
            };
            match scheme {
                "tcp" => tcp(&url),
                "docker-container" => docker(&url).map(command),
                "podman-container" => podman(&url).map(command),
                "nerdctl-container" => nerdctl(&url).map(command),
                "kube-pod" => kubernetes(&url).map(command),
                "ssh" => ssh(&url).map(command),
                _ => Err(format!(
                    "scheme {scheme:?} is not known; use one of {KNOWN}"
                )),
            }
        }
    }
}

fn tcp(url: &Url) -> Result<Address, String> {
    let wrong = || "write it as tcp://HOST:PORT".to_owned();
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or_else(wrong)?;
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
    match url.port() {
        Some(port) if is_bare => Ok(Address::Tcp {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        }),
        _ => Err(wrong()),
    }
}

/// What dials inside a container or on another machine.
const DIAL: [&str; 2] = ["buildctl", "dial-stdio"];

fn docker(url: &Url) -> Result<(&'static str, Vec<String>), String> {
    let context = query(url, "context").map(|context| format!("--context={context}"));
    let mut arguments = Vec::from_iter(context);
    arguments.extend(["exec".into(), "-i".into(), container(url)?]);
    arguments.extend(DIAL.map(str::to_owned));
    Ok(("docker", arguments))
}

fn podman(url: &Url) -> Result<(&'static str, Vec<String>), String> {
    let mut arguments = vec!["exec".into(), "-i".into(), container(url)?];
    arguments.extend(DIAL.map(str::to_owned));
    Ok(("podman", arguments))
}

fn nerdctl(url: &Url) -> Result<(&'static str, Vec<String>), String> {
    let mut arguments = vec!["exec".to_owned()];
    if let Some(namespace) = query(url, "namespace") {
        arguments.extend(["--namespace".into(), namespace]);
    }
    arguments.extend(["-i".into(), container(url)?]);
    arguments.extend(DIAL.map(str::to_owned));
    Ok(("nerdctl", arguments))
}

fn kubernetes(url: &Url) -> Result<(&'static str, Vec<String>), String> {
    let checked = |what: &str, name: String| match is_kubernetes_name(&name) {
        true => Ok(name),
        false => Err(format!("unsupported {what} name: {name:?}")),
    };
    let pod = url.host_str().unwrap_or_default().to_owned();
    if pod.is_empty() {
        return Err("it lacks the pod's name".into());
    }
    let pod = checked("pod", pod)?;
    let named = |key: &str| match query(url, key) {
        Some(name) => checked(key, name),
        None => Ok(String::new()),
    };
    let mut arguments = vec![
        format!("--context={}", query(url, "context").unwrap_or_default()),
        format!("--namespace={}", named("namespace")?),
        "exec".into(),
        format!("--container={}", named("container")?),
        "-i".into(),
        pod,
        "--".into(),
    ];
    arguments.extend(DIAL.map(str::to_owned));
    Ok(("kubectl", arguments))
}

fn ssh(url: &Url) -> Result<(&'static str, Vec<String>), String> {
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or("no host specified")?;
    if url.password().is_some() {
        return Err("plain-text password is not supported".into());
    }
    if let Some(query) = url.query() {
        return Err(format!("extra query after the host: {query:?}"));
    }
    if let Some(fragment) = url.fragment() {
        return Err(format!("extra fragment after the host: {fragment:?}"));
    }
    let mut arguments = Vec::new();
    if !url.username().is_empty() {
        arguments.extend(["-l".into(), url.username().to_owned()]);
    }
    if let Some(port) = url.port() {
        arguments.extend(["-p".into(), port.to_string()]);
    }
    arguments.extend(["--".into(), host.to_owned(), DIAL[0].into()]);
    if !matches!(url.path(), "" | "/") {
        arguments.extend(["--addr".into(), format!("unix://{}", url.path())]);
    }
    arguments.push(DIAL[1].into());
    Ok(("ssh", arguments))
}

/// The container's name. One that looks like a flag would be read as one.
fn container(url: &Url) -> Result<String, String> {
    match url.host_str() {
        None | Some("") => Err("it lacks the container's name".into()),
        Some(name) if name.starts_with('-') => Err(format!("{name:?} is not a container's name")),
        Some(name) => Ok(name.to_owned()),
    }
}

fn query(url: &Url, key: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    let value = pairs.find(|(name, _)| name == key)?.1.into_owned();
    Some(value).filter(|value| !value.is_empty())
}

fn is_kubernetes_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    !name.starts_with('-') && name.chars().all(is_allowed)
}
