//! A stage while it is lowered.

use super::capture::Capture;
use super::named::NamedContext;
use crate::image::ImageConfig;
use crate::instruction::{ArgDefinition, Command, Located};
use crate::options::Options;
use crate::parse;
use crate::position::Location;
use kiln_llb::build::State;
use oci_spec::image::Platform;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// Position of a stage among all.
pub(crate) type StageId = usize;

/// Paths of a filesystem that are used. Stages share the set of the stage they start from.
pub(crate) type UsedPaths = Rc<RefCell<BTreeSet<String>>>;

/// A stage while it is lowered.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// Its name, in lower case.
    pub(crate) name: Option<String>,
    /// What it starts from: first as written, then with variables filled in, then the full name with digest.
    pub(crate) base_name: String,
    /// Its name in progress; empty if it is the only one.
    pub(crate) label: String,
    pub(crate) description: Option<String>,
    pub(crate) source: String,
    /// Its `FROM`; for an image that is only copied or mounted from, the instruction that does.
    pub(crate) location: Option<Location>,
    /// The stage it starts from.
    pub(crate) base: Option<StageId>,
    /// Configuration of the image at the bottom.
    pub(crate) base_image: Option<ImageConfig>,
    pub(crate) named: Option<NamedContext>,
    pub(crate) platform: Option<Platform>,
    pub(crate) state: Option<State>,
    pub(crate) image: ImageConfig,
    /// Stages it needs, and for which instruction.
    pub(crate) needs: BTreeMap<StageId, Location>,
    pub(crate) steps: Vec<Step>,
    /// `ARG` so far.
    pub(crate) args: Vec<ArgDefinition>,
    /// Paths of the build context it uses.
    pub(crate) context_paths: BTreeSet<String>,
    pub(crate) paths: UsedPaths,
    pub(crate) progress: Progress,
    pub(crate) phase: Phase,
    pub(crate) triggers: Triggers,
    pub(crate) cache: CacheUse,
    /// Where the last instruction of a kind stands that only counts once.
    pub(crate) last: HashMap<&'static str, Location>,
    /// Whether a `WORKDIR` has been seen in this file.
    pub(crate) workdir_seen: bool,
    pub(crate) capture: Capture,
}

/// One instruction of a stage.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) command: Located<Command>,
    /// Stages that it reads, one per `--from`.
    pub(crate) sources: Vec<StageId>,
    pub(crate) origin: Origin,
}

/// Where an instruction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    File,
    Trigger,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Planned,
    /// Its base is known.
    Resolved,
    /// Its instructions are lowered, or it has none.
    Done,
}

/// Whether the triggers of the stage it starts from have been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Triggers {
    #[default]
    Unread,
    Read,
}

/// Whether cached results may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CacheUse {
    #[default]
    Allowed,
    Ignored,
}

/// Numbers of steps for progress.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done: usize,
    pub(crate) total: usize,
    pub(crate) origin: Option<Origin>,
}

impl Stage {
    pub(crate) fn new(syntax: &parse::Stage, base_name: String, label: String) -> Self {
        Self {
            name: syntax.name.clone(),
            base_name,
            label,
            description: syntax.description.clone(),
            source: syntax.source.clone(),
            location: Some(syntax.location),
            ..Self::default()
        }
    }

    /// An image or context that is only copied or mounted from.
    pub(crate) fn external(base_name: &str, location: Location) -> Self {
        Self {
            base_name: base_name.into(),
            location: Some(location),
            ..Self::default()
        }
    }

    pub(crate) fn is_external(&self) -> bool {
        self.source.is_empty()
    }

    pub(crate) fn state(&self) -> State {
        self.state.clone().unwrap_or_else(State::scratch)
    }

    /// Changes the state.
    pub(crate) fn update(&mut self, change: impl FnOnce(&State) -> State) {
        self.state = Some(change(&self.state()));
    }

    pub(crate) fn platform_or(&self, options: &super::Targets) -> Platform {
        self.platform
            .clone()
            .unwrap_or_else(|| options.target.clone())
    }

    pub(crate) fn use_path(&self, path: &str) {
        self.paths
            .borrow_mut()
            .insert(kiln_llb::path::join(["/", path]));
    }

    pub(crate) fn use_context_path(&mut self, path: &str) {
        self.context_paths.insert(kiln_llb::path::join(["/", path]));
    }

    /// Decides whether cached results may be used.
    pub(crate) fn set_cache_use(&mut self, options: &Options) {
        let name = self.name.as_deref().unwrap_or_default();
        if options.no_cache.covers(name) {
            self.cache = CacheUse::Ignored;
        }
    }
}

/// The paths to send: none means all.
pub(crate) fn follow_paths(paths: &BTreeSet<String>) -> Vec<String> {
    if paths.contains("/") {
        return Vec::new();
    }
    let mut follow: Vec<String> = paths
        .iter()
        .map(|path| kiln_llb::path::join([".", path]))
        .collect();
    follow.sort();
    follow
}
