//! Lists of what is in a result: an image scans the files, as BuildKit's SBOM protocol says
//! (`docs/attestations/sbom-protocol.md` there).

use std::collections::BTreeMap;

use kiln_llb::Definition;
use kiln_llb::build::{
    Access, Constraints, ImageOptions, MarshalError, MarshalOptions, Mount, MountKind, Run, State,
};
use kiln_llb::reference::ReferenceError;
use oci_spec::image::Platform;

use crate::image::ImageConfig;
use crate::known::ResolvedConfig;
use crate::options::SbomOptions;

/// Type of the statements that scanners make.
pub const PREDICATE_TYPE: &str = "https://spdx.dev/Document";
/// Name of the scan of the result itself.
pub const CORE: &str = "sbom";

/// Where a scanner finds the files and leaves its statements.
const CORE_FILES: &str = "/run/src/core/sbom";
const EXTRA_FILES: &str = "/run/src/extras";
const STATEMENTS: &str = "/run/out/";

/// What there is to scan.
#[derive(Clone, Debug)]
pub struct ScanTargets {
    /// The result itself.
    pub core: State,
    /// Contexts and stages that went into it, by name.
    pub extras: BTreeMap<String, State>,
    /// Whether a scan from earlier is not good enough.
    pub ignores_cache: bool,
}

/// An image that scans.
#[derive(Debug)]
pub struct Scanner<'a> {
    options: &'a SbomOptions,
    image: String,
    config: ImageConfig,
    platform: Platform,
}

/// Why nothing can be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The configuration of the scanner's image is none.
    #[error("the configuration of scanner {image} cannot be read")]
    Config {
        /// The image.
        image: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The image has nothing to run.
    #[error("scanner {0} does not have cmd")]
    NoCommand(String),
    /// The image has a name that none can have.
    #[error("scanner {image}")]
    Name {
        /// The name.
        image: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// The steps of a scan are no definition.
    #[error("the scan by {image} cannot be described")]
    Steps {
        /// The image.
        image: String,
        /// What is wrong.
        source: Box<MarshalError>,
    },
}

impl<'a> Scanner<'a> {
    /// The scanner that `options` name, whose image is `resolved` and runs on `platform`.
    pub fn new(
        options: &'a SbomOptions,
        resolved: &ResolvedConfig,
        platform: Platform,
    ) -> Result<Self, ScanError> {
        let image = resolved.reference.clone();
        let config = serde_json::from_slice::<ImageConfig>(&resolved.config);
        let config = config.map_err(|source| ScanError::Config {
            image: image.clone(),
            source,
        })?;
        if config.config.entrypoint.is_empty() && config.config.cmd.is_empty() {
            return Err(ScanError::NoCommand(image));
        }
        Ok(Self {
            options,
            image,
            config,
            platform,
        })
    }

    /// The steps that leave statements about the result called `name`, one file for each.
    pub fn scan(&self, name: &str, targets: &ScanTargets) -> Result<Definition, ScanError> {
        let options = ImageOptions {
            constraints: Constraints::new().platform(self.platform.clone()),
            ..ImageOptions::default()
        };
        let image = State::image(&self.image, options);
        let image = image.map_err(|source| ScanError::Name {
            image: self.image.clone(),
            source,
        })?;
        let command = self
            .config
            .config
            .entrypoint
            .iter()
            .chain(&self.config.config.cmd);
        let title = format!("[{name}] generating sbom using {}", self.image);
        let constraints = Constraints::named(title);
        let run = Run {
            args: command.cloned().collect(),
            mounts: mounts(targets),
            constraints: match targets.ignores_cache {
                true => constraints.ignore_cache(),
                false => constraints,
            },
            ..Run::default()
        };
        let scan = self.with_environment(image, targets).run(run);
        let statements = scan.mount(STATEMENTS).unwrap_or_else(State::scratch);
        let definition = statements.marshal(&MarshalOptions::default());
        definition.map_err(|source| ScanError::Steps {
            image: self.image.clone(),
            source: Box::new(source),
        })
    }

    fn with_environment(&self, state: State, targets: &ScanTargets) -> State {
        let config = &self.config.config;
        let own = config.env.iter().map(|entry| {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            (name.to_owned(), value.to_owned())
        });
        let scan = |name: &str, value: &str| (format!("BUILDKIT_SCAN_{name}"), value.to_owned());
        let mut environment = own.collect::<Vec<_>>();
        environment.push(scan("DESTINATION", STATEMENTS));
        environment.push(scan("SOURCE", CORE_FILES));
        if !targets.extras.is_empty() {
            environment.push(scan("SOURCE_EXTRAS", EXTRA_FILES));
        }
        let parameters = self.options.parameters.iter();
        environment.extend(parameters.map(|(name, value)| scan(name, value)));
        let state = match config.working_dir.as_str() {
            "" => state,
            dir => state.dir(dir),
        };
        let set = |state: State, (name, value): (String, String)| state.add_env(&name, &value);
        environment.into_iter().fold(state, set)
    }
}

fn mounts(targets: &ScanTargets) -> Vec<Mount> {
    let temporary = Mount {
        kind: MountKind::Tmpfs { size: 0 },
        access: Access::Discard,
        ..Mount::new("/tmp", State::scratch())
    };
    let scanned = |target: String, files: &State| Mount {
        access: Access::ReadOnly,
        ..Mount::new(target, files.clone())
    };
    let mut mounts = vec![temporary, scanned(CORE_FILES.to_owned(), &targets.core)];
    let extras = targets.extras.iter();
    mounts
        .extend(extras.map(|(name, files)| scanned(format!("{EXTRA_FILES}/{CORE}-{name}"), files)));
    mounts.push(Mount::new(STATEMENTS, State::scratch()));
    mounts
}
