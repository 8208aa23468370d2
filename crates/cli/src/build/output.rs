//! `--output`: where results go.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::IsTerminal as _;
use std::path::Path;

use kiln_engine::{ExportRequest, ExportTarget};
use kiln_session::Delivery;

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
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) kind: String,
    pub(super) attributes: BTreeMap<String, String>,
    dest: Dest,
}

#[derive(Debug, PartialEq, Eq)]
enum Dest {
    None,
    Directory(String),
    File(String),
    Stdout,
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
        (false, "" | "-") => Dest::Stdout,
        (false, _) => Dest::File(dest),
    };
    Ok(Output {
        kind,
        attributes,
        dest,
    })
}

fn invalid(message: String) -> Failure {
    Failure::usage(format!("invalid output option: output: {message}"))
}

impl Output {
    /// The output for the engine in this process.
    pub(super) fn open(self) -> Result<ExportRequest, Failure> {
        let target = match self.deliver()? {
            None => ExportTarget::None,
            Some(Delivery::Directory(path) | Delivery::Mirror(path)) => {
                ExportTarget::Directory(path)
            }
            Some(Delivery::Stream(out)) => ExportTarget::Stream(out),
        };
        Ok(ExportRequest {
            kind: self.kind,
            attributes: self.attributes,
            target,
        })
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
        Ok(Some(match &self.dest {
            Dest::None => return Ok(None),
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
