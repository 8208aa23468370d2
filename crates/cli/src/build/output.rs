//! `--output`: where results go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::IsTerminal as _;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use kiln_client::ArchiveFile;
use kiln_docker::{Address, Engine};
use kiln_engine::{ExportRequest, ExportTarget};
use kiln_session::{Delivery, ImageReceiver};
use rustix::fs::FileType;

use crate::failure::Failure;
use crate::fields;

/// Reads all `--output` values; opens nothing yet.
pub(super) fn parse(values: &[String]) -> Result<Vec<Output>, Failure> {
    let outputs = values.iter().map(|value| parse_one(value));
    let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
    let to_stdout = outputs
        .iter()
        .filter(|output| matches!(output.dest, Dest::Stdout))
        .count();
    if to_stdout > 1 {
        return Err(Failure::usage(
            "more than one --output writes to standard output; give the others a dest=",
        ));
    }
    Ok(outputs)
}

/// One value, not opened yet.
pub(super) struct Output {
    pub(super) kind: String,
    pub(super) attributes: BTreeMap<String, String>,
    dest: Dest,
    /// Who takes the image, once that is known to be there.
    receiver: Option<Arc<dyn ImageReceiver>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Dest {
    None,
    Directory(String),
    File(String),
    Stdout,
    Docker(Address),
    Update(String),
}

fn parse_one(value: &str) -> Result<Output, Failure> {
    let pairs =
        fields::pairs(value).map_err(|error| Failure::usage(format!("--output: {error}")))?;
    let mut attributes = pairs.into_iter().collect::<BTreeMap<_, _>>();
    let kind = attributes.remove("type").filter(|kind| !kind.is_empty());
    let kind = kind.ok_or_else(|| Failure::usage("--output requires type=<type>"))?;
    if let Some(dest) = attributes.get("output") {
        let message = format!("output={dest} not supported for --output, you meant dest={dest}?");
        return Err(Failure::usage(message));
    }
    let dest = attributes.remove("dest").unwrap_or_default();
    if let Some(address) = docker(&kind, &attributes, &dest)? {
        return Ok(for_docker(kind, attributes, address));
    }
    let updates = takes_updates(&kind, &mut attributes)?;
    let wants_directory = match kind.as_str() {
        "local" => true,
        "tar" => false,
        "oci" | "docker" => matches!(
            attributes.get("tar").map(String::as_str),
            Some("false" | "0" | "f" | "F" | "False" | "FALSE")
        ),
        _ if dest.is_empty() => {
            return Ok(Output {
                kind,
                attributes,
                dest: Dest::None,
                receiver: None,
            });
        }
        _ => {
            let message = format!("output {dest} is not supported by {kind} exporter");
            return Err(invalid(message));
        }
    };
    let dest = match (wants_directory, dest.as_str()) {
        (true, "") => {
            return Err(invalid(format!(
                "output directory is required for {kind} exporter"
            )));
        }
        (true, _) => Dest::Directory(dest),
        (false, "" | "-") if updates => {
            return Err(invalid("update=true needs a file to update: add dest=FILE"));
        }
        (false, "" | "-") => Dest::Stdout,
        (false, _) if updates => Dest::Update(dest),
        (false, _) => Dest::File(dest),
    };
    if kind == "docker" && dest == Dest::Stdout && is_pipe(&std::io::stdout()) {
        leave_uncompressed(&mut attributes);
    }
    Ok(Output {
        kind,
        attributes,
        dest,
        receiver: None,
    })
}

/// The Docker engine that an image is for, if it is for one.
fn docker(
    kind: &str,
    attributes: &BTreeMap<String, String>,
    dest: &str,
) -> Result<Option<Address>, Failure> {
    if !dest.starts_with(Address::SCHEME) {
        return Ok(None);
    }
    if kind != "docker" || attributes.contains_key("tar") {
        return Err(invalid(format!(
            "dest={dest} is a Docker engine, which takes type=docker without tar="
        )));
    }
    let host = std::env::var("DOCKER_HOST").ok();
    let address = Address::parse(dest, host.as_deref());
    address.map(Some).map_err(invalid)
}

/// Whether an archive that is there is added to. Layout directories always are.
fn takes_updates(kind: &str, attributes: &mut BTreeMap<String, String>) -> Result<bool, Failure> {
    if !matches!(kind, "oci" | "docker") {
        return Ok(false);
    }
    match attributes.remove("update").as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(other) => Err(invalid(format!(
            "non-bool value specified for update: {other:?}; use true or false"
        ))),
    }
}

/// Whether what is written goes to another program, such as `docker load`, and not to a file.
fn is_pipe(stdout: &impl AsFd) -> bool {
    rustix::fs::fstat(stdout)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

/// An engine unpacks layers at once, so that compressing them would only cost time.
fn leave_uncompressed(attributes: &mut BTreeMap<String, String>) {
    attributes
        .entry("compression".to_owned())
        .or_insert_with(|| "uncompressed".to_owned());
}

fn for_docker(kind: String, mut attributes: BTreeMap<String, String>, address: Address) -> Output {
    leave_uncompressed(&mut attributes);
    Output {
        kind,
        attributes,
        dest: Dest::Docker(address),
        receiver: None,
    }
}

fn invalid(message: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("invalid output option: output: {message}"))
}

impl Output {
    /// Finds out who takes the image, before anything is built for them.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        let receiver: Arc<dyn ImageReceiver> = match &self.dest {
            Dest::Docker(address) => Arc::new(Engine::connect(address).await.map_err(invalid)?),
            Dest::Update(path) => {
                let path = path.clone();
                let opened = tokio::task::spawn_blocking(move || ArchiveFile::open(path)).await;
                Arc::new(opened.map_err(invalid)?.map_err(invalid)?)
            }
            _ => return Ok(()),
        };
        self.receiver = Some(receiver);
        Ok(())
    }

    /// The output for the engine in this process.
    pub(super) fn open(self) -> Result<ExportRequest, Failure> {
        let target = match self.deliver()? {
            None => ExportTarget::None,
            Some(Delivery::Directory(path) | Delivery::Mirror(path)) => {
                ExportTarget::Directory(path)
            }
            Some(Delivery::Stream(out)) => ExportTarget::Stream(out),
            Some(Delivery::Receiver(receiver)) => ExportTarget::Receiver(receiver),
        };
        Ok(ExportRequest {
            kind: self.kind,
            attributes: self.attributes,
            target,
        })
    }

    /// The output for a plan, which delivers nothing.
    pub(super) fn leave_closed(self) -> ExportRequest {
        ExportRequest {
            kind: self.kind,
            attributes: self.attributes,
            target: ExportTarget::None,
        }
    }

    /// The place on this side that it is for.
    pub(super) fn destination(&self) -> Option<String> {
        match &self.dest {
            Dest::None => None,
            Dest::Directory(path) | Dest::File(path) | Dest::Update(path) => Some(path.clone()),
            Dest::Stdout => Some("standard output".to_owned()),
            Dest::Docker(address) => {
                Some(format!("{}{}", Address::SCHEME, address.path().display()))
            }
        }
    }

    /// Whether the directory is to have nothing but the result.
    fn is_mirror(&self) -> bool {
        self.kind == "local"
            && self
                .attributes
                .get("mode")
                .is_some_and(|mode| mode == "delete")
    }

    /// Opens the destination; `None` if the exporter has its own.
    pub(super) fn deliver(&self) -> Result<Option<Delivery>, Failure> {
        if let Some(receiver) = &self.receiver {
            return Ok(Some(Delivery::Receiver(Arc::clone(receiver))));
        }
        Ok(Some(match &self.dest {
            Dest::None | Dest::Docker(_) | Dest::Update(_) => return Ok(None),
            Dest::Directory(path) if self.is_mirror() => Delivery::Mirror(path.into()),
            Dest::Directory(path) => Delivery::Directory(path.into()),
            Dest::File(path) => Delivery::Stream(Box::new(create(Path::new(path))?)),
            Dest::Stdout => {
                let stdout = std::io::stdout();
                if stdout.is_terminal() {
                    return Err(invalid(format!(
                        "output file is required for {} exporter. refusing to write to console",
                        self.kind
                    )));
                }
                Delivery::Stream(Box::new(stdout))
            }
        }))
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    if path.is_dir() {
        return Err(invalid(format!(
            "destination file is a directory: {}",
            path.display()
        )));
    }
    File::create(path).map_err(|error| {
        invalid(format!(
            "invalid destination file: {}: {error}",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: Result<Dest, &str>) {
        let parsed = parse_one(value).map(|output| output.dest);
        match (parsed, expected) {
            (Ok(dest), Ok(expected)) => assert_eq!(dest, expected, "{value}"),
            (Err(Failure::Usage(message)), Err(expected)) => {
                assert_eq!(message, expected, "{value}")
            }
            (parsed, _) => panic!("{value}: {parsed:?}"),
        }
    }

    #[test]
    fn destinations_follow_the_type() {
        check("type=local,dest=out", Ok(Dest::Directory("out".into())));
        check("type=tar,dest=out.tar", Ok(Dest::File("out.tar".into())));
        check("type=tar", Ok(Dest::Stdout));
        check("type=oci,dest=-", Ok(Dest::Stdout));
        check(
            "type=oci,tar=false,dest=dir",
            Ok(Dest::Directory("dir".into())),
        );
        check("type=image,name=a", Ok(Dest::None));
    }

    #[test]
    fn wrong_outputs_are_explained() {
        check("dest=out", Err("--output requires type=<type>"));
        check(
            "type=tar,output=x",
            Err("output=x not supported for --output, you meant dest=x?"),
        );
        check(
            "type=local",
            Err("invalid output option: output: output directory is required for local exporter"),
        );
        check(
            "type=image,dest=x",
            Err("invalid output option: output: output x is not supported by image exporter"),
        );
        check("type=local,dest", Err("--output: invalid value dest"));
    }
}
