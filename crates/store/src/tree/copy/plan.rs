//! What a copying walk keeps in mind: things on the way, places they go to, and what is known from above.

use std::sync::Arc;

use crate::pattern::MatchState;
use crate::tree::attributes::Attributes;
use crate::tree::dir::{Dir, Name};
use crate::tree::metadata::Metadata;

/// One thing to copy.
pub(super) struct Item {
    pub(super) source: Arc<Dir>,
    pub(super) name: Name,
    /// Path below the source, as patterns see it; empty for the source itself.
    pub(super) relative: Vec<u8>,
    pub(super) place: Place,
}

/// Where a copy goes.
pub(super) struct Place {
    pub(super) parent: Parent,
    pub(super) name: Name,
    /// Path in the destination root.
    pub(super) path: Vec<u8>,
}

/// Where a place is.
#[derive(Clone)]
pub(super) enum Parent {
    /// A directory that is there.
    Open(Arc<Dir>),
    /// The directory made for this level of the walk, which may not be there yet.
    Level(usize),
}

/// A source directory on the way down.
pub(super) struct Level {
    pub(super) source: Arc<Dir>,
    pub(super) name: Name,
    pub(super) metadata: Metadata,
    pub(super) place: Place,
    pub(super) existing: Existing,
    /// The directory at its place, once something is put there.
    pub(super) dest: Option<Arc<Dir>>,
}

/// What happens to the attributes of a directory that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// The destination itself keeps them, but for its times.
    Keep,
    /// Directories below get those of the source.
    Overwrite,
}

/// What the walk knows from the directories above.
pub(super) struct Rules {
    pub(super) include: MatchState,
    pub(super) exclude: MatchState,
    pub(super) existing: Existing,
}

impl Rules {
    pub(super) fn top() -> Self {
        Self {
            include: MatchState::default(),
            exclude: MatchState::default(),
            existing: Existing::Keep,
        }
    }
}

/// What the patterns say about a path.
pub(super) struct Verdict {
    pub(super) included: bool,
    pub(super) excluded: bool,
    pub(super) below: Rules,
}

/// Attributes of a directory, set when nothing is put into it any more.
pub(super) struct LateDir {
    pub(super) path: Vec<u8>,
    pub(super) attributes: Attributes,
}
