//! Why a step ran, as data.

use serde::{Deserialize, Serialize};

use super::{Aspect, Outcome};

/// Why one step ran, or is another one than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The place of the step among the facts.
    pub step: usize,
    /// Its name.
    pub name: String,
    /// What became of it. A step that did not run is explained only if another follows from it.
    pub outcome: Outcome,
    /// The build whose step is the nearest to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// What differs from there, the most telling first.
    pub causes: Vec<Cause>,
    /// The step with which it began, if that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<usize>,
}

/// An earlier build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// Its id.
    pub build: String,
    /// What the step was called there.
    pub name: String,
}

/// One reason why a step ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "reason"
)]
pub enum Cause {
    /// The user wants it to run.
    CacheOff {
        /// The option that says so.
        option: String,
    },
    /// The step itself says something else.
    Changed {
        /// What is different.
        aspect: Aspect,
        /// What it was; nothing if it is new.
        before: Option<String>,
        /// What it is; nothing if it is gone.
        now: Option<String>,
        /// Who says so.
        origin: Origin,
    },
    /// Files that it looks at are different.
    Files {
        /// Where they come from: a step's name.
        from: String,
        /// Which ones.
        changes: FileChanges,
    },
    /// A step that it builds on ran, or is another one than before.
    Follows {
        /// The place of that step among the facts.
        step: usize,
    },
    /// It comes after another step than before.
    Order {
        /// The step after which it comes; nothing if it is the first.
        now: Option<String>,
        /// The step after which it came; nothing if it was the first.
        before: Option<String>,
        /// Whether the step after which it came is still there.
        presence: Presence,
    },
    /// Its definition is another one, in something of which nothing is kept.
    Definition,
    /// The result was there, and is gone.
    Gone,
    /// The result is listed, but could not be loaded.
    Lost,
    /// The earlier build did not come to its end.
    Unfinished,
    /// It depends on something that each session has anew.
    Session,
    /// No earlier build had it.
    New,
    /// No earlier build is known that resembles this one.
    FirstBuild,
    /// A cache that might have had it could not be imported.
    ImportFailed {
        /// The cache.
        cache: String,
        /// Why.
        why: String,
    },
}

/// Who says what changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The step's own definition.
    Definition,
    /// An option of the build.
    BuildArgument,
    /// The config of an image that it is based on.
    BaseImage(String),
}

/// Whether a step is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Presence {
    /// It is.
    Here,
    /// It is not.
    Removed,
}

/// Which files differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "known"
)]
pub enum FileChanges {
    /// These.
    Yes {
        /// The first of them.
        first: Vec<FileChange>,
        /// How many there are beside those.
        others: usize,
    },
    /// The earlier tree is gone, or one of both is not here.
    No {
        /// What the step looks at.
        paths: Vec<String>,
    },
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// Its path, from the root of its tree.
    pub path: String,
    /// What is different: `added`, `removed`, `content`, `mode`, `owner`, `link target`, `type` or `attributes`.
    pub what: Vec<String>,
}
