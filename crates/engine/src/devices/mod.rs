//! CDI devices: what files on this machine describe as devices, which of them a step asks for, and
//! what a process gets with them.

mod edits;
mod file;
mod grants;
mod names;
mod select;
mod spec;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::blocking;
use crate::error::{BuildError, Kind};

pub(crate) use edits::Injection;
use file::SpecFile;
pub(crate) use grants::asks_for_judgement;

/// Where devices are described if nobody says otherwise.
const DIRECTORIES: [&str; 3] = ["/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi"];

/// With this annotation a device needs nobody's word.
const AUTO_ALLOW: &str = "org.mobyproject.buildkit.device.autoallow";

/// With this annotation a device can be had by the name of its class.
const CLASS: &str = "org.mobyproject.buildkit.device.class";

/// Which devices there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOptions {
    /// Directories with CDI files. What a later one says of a device counts more.
    pub directories: Vec<PathBuf>,
    /// Devices (`vendor/class=name`) and kinds (`vendor/class`) that builds may use without being granted them.
    pub auto_allowed: BTreeSet<String>,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self {
            directories: DIRECTORIES.map(PathBuf::from).to_vec(),
            auto_allowed: BTreeSet::new(),
        }
    }
}

/// A device of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// `vendor/class=name`.
    pub name: String,
    /// Builds may use it without being granted it.
    pub auto_allowed: bool,
    /// What its file says about it.
    pub annotations: BTreeMap<String, String>,
}

/// The devices of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceList {
    /// By name.
    pub devices: Vec<DeviceInfo>,
    /// Why some files do not count.
    pub problems: Vec<String>,
}

/// What the files say at one moment.
#[derive(Default)]
pub(crate) struct Devices {
    /// By full name.
    devices: BTreeMap<String, Device>,
    problems: Vec<String>,
}

/// One device.
struct Device {
    /// Where it is described.
    file: Arc<SpecFile>,
    /// Its place there.
    index: usize,
    /// How much its directory counts.
    priority: usize,
    annotations: BTreeMap<String, String>,
    auto_allowed: bool,
}

impl DeviceOptions {
    /// Reads all files. Those that cannot be used are left out.
    pub(crate) async fn read(&self) -> Result<Devices, BuildError> {
        let options = self.clone();
        blocking(move || Ok(Devices::read(&options))).await
    }
}

impl Devices {
    /// None, for the reason that nobody wants any.
    pub(crate) fn switched_off() -> Self {
        Self {
            problems: vec!["CDI devices are switched off (cdi.disabled, --cdi-disabled)".into()],
            ..Self::default()
        }
    }

    fn read(options: &DeviceOptions) -> Self {
        let mut all = Self::default();
        let mut conflicts = BTreeSet::new();
        for (priority, directory) in options.directories.iter().enumerate() {
            for path in all.files(directory) {
                match SpecFile::read(&path) {
                    Ok(file) => all.add(&Arc::new(file), priority, options, &mut conflicts),
                    Err(error) => all.problems.push(error.to_string()),
                }
            }
        }
        all.devices.retain(|name, _| !conflicts.contains(name));
        all
    }

    /// The files of a directory that may describe devices, by name.
    fn files(&mut self, directory: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).and_then(|entries| {
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let files = entries
                .into_iter()
                .filter(|it| it.file_type().is_ok_and(|kind| !kind.is_dir()));
            Ok(files.map(|entry| entry.path()).collect::<Vec<_>>())
        });
        match entries {
            Ok(mut files) => {
                let is_spec = |path: &PathBuf| {
                    let extension = path.extension();
                    extension.is_some_and(|it| it == "json" || it == "yaml")
                };
                files.retain(is_spec);
                files.sort();
                files
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let directory = directory.display();
                self.problems.push(format!("{directory}: {error}"));
                Vec::new()
            }
        }
    }

    fn add(
        &mut self,
        file: &Arc<SpecFile>,
        priority: usize,
        options: &DeviceOptions,
        conflicts: &mut BTreeSet<String>,
    ) {
        for (index, described) in file.spec.devices.iter().enumerate() {
            let name = format!("{}={}", file.spec.kind, described.name);
            if let Some(known) = self.devices.get(&name)
                && known.priority == priority
            {
                let (one, other) = (known.file.path.display(), file.path.display());
                let problem = format!("conflicting device {name:?} (specs {one}, {other})");
                self.problems.push(problem);
                conflicts.insert(name);
                continue;
            }
            // Whatever stands in a directory that counts less is out of the question now.
            conflicts.remove(&name);
            let mut annotations = file.spec.annotations.clone();
            annotations.extend(described.annotations.clone());
            let listed = &options.auto_allowed;
            let is_told = annotations.get(AUTO_ALLOW).is_some_and(|it| is_true(it));
            let auto_allowed =
                is_told || listed.contains(&name) || listed.contains(&file.spec.kind);
            let device = Device {
                file: file.clone(),
                index,
                priority,
                annotations,
                auto_allowed,
            };
            self.devices.insert(name, device);
        }
    }

    /// What clients are told.
    pub(crate) fn list(self) -> DeviceList {
        let devices = self.devices.into_iter().map(|(name, device)| DeviceInfo {
            name,
            auto_allowed: device.auto_allowed,
            annotations: device.annotations,
        });
        DeviceList {
            devices: devices.collect(),
            problems: self.problems,
        }
    }
}

/// The words for true of Go's `ParseBool`.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// An error about what was asked for.
fn invalid(message: impl Into<String>) -> BuildError {
    BuildError::new(Kind::Input, message)
}
