//! Statements as files, for outputs of files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_store::tree::Root;
use kiln_store::{MutableOptions, MutableRef, Store};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::statement::{Said, Subject};
use crate::ExportError;
use crate::cancel::Cancelled;
use crate::image::json;

/// How statements are written as files.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatementFiles {
    /// What file names begin with.
    pub(crate) prefix: String,
    /// The platform that file names contain, where several platforms share a directory.
    pub(crate) infix: Option<String>,
    /// The time that files get.
    pub(crate) epoch: Option<i64>,
}

/// A directory with statements, which goes away when this is dropped.
pub(crate) struct StatementDirectory {
    pub(crate) root: OwnedFd,
    _tree: MutableRef,
}

/// Writes the statements about all regular files of a tree. Blocks.
pub(crate) fn write_files(
    store: &Store,
    tree: Option<&OwnedFd>,
    said: &[Said],
    plan: &StatementFiles,
    cancelled: &Cancelled,
) -> Result<StatementDirectory, ExportError> {
    let failed = |error: kiln_store::StoreError| ExportError::Store(error.into());
    let mut subjects = Vec::new();
    if let Some(tree) = tree {
        add_files(tree, "", &mut subjects, cancelled)?;
    }
    let directory = store
        .mutable(None, MutableOptions::default())
        .map_err(failed)?;
    let seconds = plan
        .epoch
        .map(|seconds| u64::try_from(seconds).unwrap_or(0));
    let time = seconds.map_or_else(SystemTime::now, |seconds| {
        UNIX_EPOCH + Duration::from_secs(seconds)
    });
    let mut names = BTreeSet::new();
    for one in said {
        let name = plan.name(&one.path);
        if !names.insert(name.clone()) {
            return Err(ExportError::Result(format!(
                "duplicate attestation path name {name}"
            )));
        }
        let statement = one.statement(&subjects);
        let bytes = json::indented_raw(&statement)
            .map_err(|error| ExportError::Config(error.to_string()))?;
        write_file(&directory.upper_dir().join(&name), &bytes, time)?;
    }
    let root =
        Root::open(directory.upper_dir()).map_err(|error| ExportError::Store(error.into()))?;
    let root = root
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| ExportError::Store(error.into()))?;
    Ok(StatementDirectory {
        root,
        _tree: directory,
    })
}

fn write_file(path: &Path, bytes: &[u8], time: SystemTime) -> Result<(), ExportError> {
    let write = || -> io::Result<()> {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.set_modified(time)
    };
    write().map_err(|source| ExportError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

impl StatementFiles {
    /// The file of a statement: the last part of its path with the prefix, and the platform before the extension.
    fn name(&self, path: &str) -> String {
        let base = path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let name = format!("{}{base}", self.prefix);
        match &self.infix {
            None => name,
            Some(infix) => match name.rfind('.') {
                Some(dot) => format!("{}.{infix}{}", &name[..dot], &name[dot..]),
                None => format!("{name}.{infix}"),
            },
        }
    }
}

/// Adds the regular files below a directory, names sorted in each directory.
fn add_files(
    directory: &OwnedFd,
    path: &str,
    subjects: &mut Vec<Subject>,
    cancelled: &Cancelled,
) -> Result<(), ExportError> {
    let failed = |name: &str, error: io::Error| ExportError::File {
        action: "read",
        path: Path::new(path).join(name),
        source: error,
    };
    let entries = Dir::read_from(directory).map_err(|error| failed("", error.into()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_owned()));
    let mut names = names
        .collect::<Result<Vec<_>, Errno>>()
        .map_err(|error| failed("", error.into()))?;
    names.sort_unstable();
    for name in names {
        if matches!(name.as_bytes(), b"." | b"..") {
            continue;
        }
        cancelled.check().map_err(|_| ExportError::Canceled)?;
        let text = name.to_string_lossy().into_owned();
        let stat = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed(&text, error.into()))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |flags| {
            openat(directory, &name, flags, Mode::empty())
                .map_err(|error| failed(&text, error.into()))
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let inner = open(flags | OFlags::DIRECTORY)?;
                add_files(&inner, &format!("{path}{text}/"), subjects, cancelled)?;
            }
            FileType::RegularFile => {
                let digest =
                    hash(File::from(open(flags)?)).map_err(|error| failed(&text, error))?;
                let digest = [("sha256".to_owned(), digest)].into();
                subjects.push(Subject {
                    name: format!("{path}{text}"),
                    digest,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn hash(mut file: File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            length => hash.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        let plain = StatementFiles {
            prefix: "x.".into(),
            ..StatementFiles::default()
        };
        assert_eq!(plain.name("sbom/a.spdx.json"), "x.a.spdx.json");
        let shared = StatementFiles {
            infix: Some("linux_amd64".into()),
            ..StatementFiles::default()
        };
        assert_eq!(
            shared.name("provenance.json"),
            "provenance.linux_amd64.json"
        );
        assert_eq!(shared.name("provenance"), "provenance.linux_amd64");
    }
}
