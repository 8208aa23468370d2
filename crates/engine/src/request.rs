//! What a client asks of the engine, and what it gets back: plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kiln_llb::Definition;
use kiln_protocol::sourcepolicy::Policy;
use kiln_session::progress::{ProgressSink, Silent};
use kiln_session::transfer::RemoteTarget;
use kiln_session::{ImageReceiver, JudgeSources, RemoteContent, Session, SessionId};
use oci_spec::image::Descriptor;

use crate::entitlement::Entitlement;
use crate::history::TraceContext;
use crate::late_exports::LateExports;
use crate::step_network::StepNetwork;
use crate::surroundings::{Compatibility, Surroundings};

/// String options as they stand on command lines: key to value.
pub type Attributes = BTreeMap<String, String>;

/// One build.
pub struct BuildRequest {
    /// Names the build; unique per engine.
    pub id: String,
    /// What turns the request into LLB.
    pub frontend: Frontend,
    /// Options for the frontend, such as `target` or `build-arg:NAME`.
    pub options: Attributes,
    /// Definitions for the frontend to build on, by name.
    pub frontend_inputs: BTreeMap<String, Definition>,
    /// Where results go; may be empty.
    pub exports: Vec<ExportRequest>,
    /// Picks further exports once the result is there.
    pub late_exports: Option<Arc<dyn LateExports>>,
    /// Caches to read from, first match wins.
    pub cache_imports: Vec<CacheEntry>,
    /// Caches to write once the build is done.
    pub cache_exports: Vec<CacheEntry>,
    /// Privileges that the user granted to this build.
    pub entitlements: BTreeSet<Entitlement>,
    /// Rules about sources.
    pub source_policy: Option<Policy>,
    /// Decides about each source that the rules allow.
    pub session_policy: Option<Arc<dyn JudgeSources>>,
    /// How steps reach the network.
    pub network: StepNetwork,
    /// Which behaviour digests depend on.
    pub compatibility: Compatibility,
    /// What the client lends to the build.
    pub session: Session,
    /// Where progress goes.
    pub progress: ProgressSink,
    /// Whether the history lists the build.
    pub recorded: Recorded,
    /// The trace that the request is a part of.
    pub trace: Option<TraceContext>,
}

impl BuildRequest {
    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            network: self.network,
            compatibility: self.compatibility,
        }
    }

    /// A request under a fresh id for nothing but `frontend`; fill in the
    /// fields that apply.
    pub fn new(frontend: Frontend, session: Session) -> Self {
        Self {
            id: SessionId::random().as_str().to_owned(),
            frontend,
            options: Attributes::new(),
            frontend_inputs: BTreeMap::new(),
            exports: Vec::new(),
            late_exports: None,
            cache_imports: Vec::new(),
            cache_exports: Vec::new(),
            entitlements: BTreeSet::new(),
            source_policy: None,
            session_policy: None,
            network: StepNetwork::default(),
            compatibility: Compatibility::default(),
            session,
            progress: Arc::new(Silent),
            recorded: Recorded::default(),
            trace: None,
        }
    }
}

/// Whether the history lists a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recorded {
    /// It does.
    #[default]
    Listed,
    /// It is a part of a client's other work: its progress can be followed
    /// while it runs, and then it is forgotten.
    Unlisted,
}

/// What turns a request into LLB.
pub enum Frontend {
    /// The built-in Dockerfile frontend (`dockerfile.v0`).
    Dockerfile,
    /// An image that is run as the frontend (`gateway.v0`); option `source`
    /// names it.
    Gateway,
    /// None: the client brings LLB of its own.
    Definition(Definition),
    /// The client itself, over [`Engine::llb_bridge`](crate::Engine::llb_bridge):
    /// the build goes on with what it returns there.
    Client,
}

impl Frontend {
    /// The frontend that a request names; `None` if there is none of that
    /// name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "dockerfile.v0" => Some(Self::Dockerfile),
            "gateway.v0" => Some(Self::Gateway),
            _ => None,
        }
    }

    /// The name that requests give it; empty where there is none.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dockerfile => "dockerfile.v0",
            Self::Gateway => "gateway.v0",
            Self::Definition(_) | Self::Client => "",
        }
    }
}

/// Where one result goes.
#[derive(Debug)]
pub struct ExportRequest {
    /// `image`, `local`, `tar`, `oci` or `docker`.
    pub kind: String,
    /// The exporter's other keys, lower-case.
    pub attributes: Attributes,
    /// Where bytes or files are delivered.
    pub target: ExportTarget,
}

/// Where an exporter delivers.
pub enum ExportTarget {
    /// It keeps its result itself (an image store, a registry).
    None,
    /// Into a directory.
    Directory(PathBuf),
    /// Into a directory of a client elsewhere.
    RemoteDirectory(Arc<dyn RemoteTarget>),
    /// Blob by blob into a store of a client elsewhere, who indexes it afterwards (`tar=false`).
    RemoteContent(Arc<dyn RemoteContent>),
    /// As one stream of bytes.
    Stream(Box<dyn std::io::Write + Send>),
    /// As an archive without the layers that its receiver has (`oci`, `docker`).
    Receiver(Arc<dyn ImageReceiver>),
}

impl std::fmt::Debug for ExportTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Directory(path) => write!(f, "Directory({})", path.display()),
            Self::RemoteDirectory(_) => f.write_str("RemoteDirectory"),
            Self::RemoteContent(store) => write!(f, "RemoteContent({})", store.name()),
            Self::Stream(_) => f.write_str("Stream"),
            Self::Receiver(_) => f.write_str("Receiver"),
        }
    }
}

/// A cache to import from or export to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheEntry {
    /// `local`, `registry`, `inline`, …
    pub kind: String,
    /// The cache type's other keys.
    pub attributes: Attributes,
}

impl From<kiln_dockerfile::options::CacheImport> for CacheEntry {
    fn from(import: kiln_dockerfile::options::CacheImport) -> Self {
        Self {
            kind: import.kind,
            attributes: import.attrs,
        }
    }
}

/// What a build leaves behind beside its exports.
#[derive(Debug, Clone, Default)]
pub struct BuildOutcome {
    /// The exporters' answers, such as `containerimage.digest`.
    pub response: Attributes,
    /// The images that exports made, by the export's place in the request.
    pub descriptors: BTreeMap<usize, Descriptor>,
    /// Where the results come from, if the history records that.
    pub provenance: Vec<Provenance>,
    /// A frontend subrequest's answer (`result.txt`, `result.json`, …);
    /// empty for builds.
    pub subrequest: BTreeMap<String, Vec<u8>>,
}

impl BuildOutcome {
    /// A frontend's answer in text.
    pub(crate) fn answer(metadata: BTreeMap<String, Bytes>) -> Self {
        let subrequest = metadata.into_iter();
        Self {
            subrequest: subrequest.map(|(key, text)| (key, text.into())).collect(),
            ..Self::default()
        }
    }
}

/// Where one result of a build comes from.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// The result's platform; `None` if the result is for one platform only.
    pub platform: Option<String>,
    /// The type of the predicate.
    pub predicate_type: &'static str,
    /// The predicate as JSON.
    pub predicate: Bytes,
}
