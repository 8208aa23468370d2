//! The options of a build as frontends receive them: string attributes, read once into typed fields.

mod parse;
mod sbom;

pub use parse::fields;
pub use sbom::SbomOptions;

use crate::lint::LintConfig;
use kiln_llb::build::ResolveMode;
use kiln_llb::caps::Caps;
use kiln_llb::reference::ReferenceError;
use kiln_llb::{Definition, pb, platform};
use oci_spec::image::Platform;
use std::collections::BTreeMap;

/// Name of the client directory with the build context.
pub const CONTEXT: &str = "context";
/// Name of the client directory with the Dockerfile.
pub const DOCKERFILE: &str = "dockerfile";
/// Name of the file that says what is not part of a context.
pub const IGNORE_FILE: &str = ".dockerignore";
/// Name of the file that is built.
pub const DEFAULT_FILENAME: &str = "Dockerfile";

/// Options of a build.
#[derive(Clone, Debug)]
pub struct Options {
    /// Stage to build; empty for the last one.
    pub target: String,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// Labels for the image.
    pub labels: BTreeMap<String, String>,
    /// Platforms to build for; empty for this machine's.
    pub platforms: Vec<Platform>,
    /// The one of `platforms` that is lowered for; none if there are none.
    pub target_platform: Option<Platform>,
    /// Platforms that steps can run on, the native one first.
    pub build_platforms: Vec<Platform>,
    /// Whether the result is an index even with one platform.
    pub multi_platform: bool,
    /// What is built again although it is cached.
    pub no_cache: NoCache,
    /// Where images are looked for first.
    pub resolve_mode: ResolveMode,
    /// Lines for the hosts file: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Host name of steps.
    pub hostname: String,
    /// Size of `/dev/shm` in bytes; zero for the default.
    pub shm_size: i64,
    /// Resource limits of processes.
    pub ulimits: Vec<pb::Ulimit>,
    /// Parent control group of steps.
    pub cgroup_parent: String,
    /// Limits of steps' control groups.
    pub linux_resources: Option<pb::LinuxResources>,
    /// Network of steps.
    pub network: pb::NetMode,
    /// Devices that every step gets.
    pub devices: Vec<pb::CdiDevice>,
    /// Which lint rules run, if not as the file says.
    pub lint: Option<LintConfig>,
    /// Prefix of the ids of cache mounts.
    pub cache_namespace: String,
    /// Caches to import.
    pub cache_imports: Vec<CacheImport>,
    /// Where the Dockerfile and the context are.
    pub context: ContextOptions,
    /// What scans the result; none if nobody asks for it.
    pub sbom: Option<SbomOptions>,
    /// Which request is answered in place of a build; empty for a build.
    pub request: String,
    /// What the server can do.
    pub caps: Caps,
}

/// Where the Dockerfile and the contexts are.
#[derive(Clone, Debug, Default)]
pub struct ContextOptions {
    /// Session which has the client's directories.
    pub session: String,
    /// Other sessions, by directory.
    pub local_sessions: BTreeMap<String, String>,
    /// Path of the Dockerfile in its directory.
    pub filename: String,
    /// Another client directory with the Dockerfile.
    pub dockerfile_key: Option<String>,
    /// Git or HTTP address of the context; none for a client directory.
    pub remote: Option<String>,
    /// Directory inside a remote context.
    pub subdir: Option<String>,
    /// Whether a git context keeps `.git`.
    pub keep_git_dir: bool,
    /// Definitions given with the request, by name; `context` and `dockerfile` take the place of directories.
    pub inputs: BTreeMap<String, Definition>,
    /// Contexts by name, and by name and platform (`name::os/arch`).
    pub named: BTreeMap<String, String>,
    /// Metadata of definitions given as input.
    pub input_metadata: BTreeMap<String, String>,
    /// What tells uploads of named contexts apart.
    pub shared_keys: BTreeMap<String, String>,
}

impl ContextOptions {
    /// The session which has that directory.
    pub fn session_of(&self, directory: &str) -> &str {
        self.local_sessions.get(directory).unwrap_or(&self.session)
    }
}

/// What is built again although it is cached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NoCache {
    /// Nothing.
    #[default]
    Nothing,
    /// Every stage.
    All,
    /// These stages.
    Stages(Vec<String>),
}

impl NoCache {
    /// Whether the stage is built again.
    pub fn covers(&self, stage: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Stages(stages) => stages.iter().any(|it| it.eq_ignore_ascii_case(stage)),
        }
    }
}

/// A cache to import.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct CacheImport {
    /// Kind of cache, such as `registry`.
    #[serde(rename = "Type", alias = "type", default)]
    pub kind: String,
    /// Its options.
    #[serde(rename = "Attrs", alias = "attrs", default)]
    pub attrs: BTreeMap<String, String>,
}

/// An option whose value makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A platform cannot be read.
    #[error("failed to parse target platform {value}: {source}")]
    Platform {
        /// The value.
        value: String,
        /// What is wrong.
        source: platform::PlatformError,
    },
    /// `image-resolve-mode`.
    #[error("invalid image-resolve-mode: {0}; use \"default\", \"pull\" or \"local\"")]
    ResolveMode(String),
    /// `force-network-mode`.
    #[error("invalid netmode {0}; use \"sandbox\", \"host\" or \"none\"")]
    Network(String),
    /// `add-hosts`.
    #[error("failed to parse additional hosts: {0}")]
    Hosts(String),
    /// `shm-size`.
    #[error("failed to parse shm size: {0:?} is not a number of bytes")]
    ShmSize(String),
    /// `ulimit`.
    #[error("failed to parse ulimit: {0}")]
    Ulimit(String),
    /// `memory`, `cpushares` and their like.
    #[error("failed to parse resource limits: invalid {key} value: {value}: {reason}")]
    Resource {
        /// The option.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        reason: &'static str,
    },
    /// `multi-platform`.
    #[error("invalid boolean value for multi-platform: {0}")]
    MultiPlatform(String),
    /// Several platforms and `multi-platform=false`.
    #[error("conflicting config: returning multiple target platforms is not allowed")]
    ManyPlatforms,
    /// `cache-imports`.
    #[error("failed to unmarshal cache-imports ({value:?}): {reason}")]
    CacheImports {
        /// The value.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// `BUILDKIT_DOCKERFILE_CHECK`.
    #[error("failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: {0}")]
    Check(crate::lint::CheckOptionError),
    /// `attest:sbom`.
    #[error("failed to parse sbom scanner {generator}: {source}")]
    SbomGenerator {
        /// Name of the scanner's image.
        generator: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// An option that no longer exists.
    #[error("support for {0:?} was removed in BuildKit 0.11")]
    Removed(&'static str),
}

impl Options {
    /// Reads the options of a frontend request.
    pub fn from_attrs(attrs: &BTreeMap<String, String>) -> Result<Self, OptionError> {
        parse::options(attrs)
    }

    /// Sets the session which has the client's directories.
    pub fn with_session(mut self, session: &str) -> Self {
        self.context.session = session.into();
        self
    }

    /// The options for each platform to build for; the same once if none is asked for.
    pub fn per_platform(&self) -> Vec<Self> {
        if self.platforms.is_empty() {
            return vec![self.clone()];
        }
        let one = |platform: &Platform| Self {
            target_platform: Some(platform.clone()),
            ..self.clone()
        };
        self.platforms.iter().map(one).collect()
    }
}
