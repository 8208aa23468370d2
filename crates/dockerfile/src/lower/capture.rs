//! What a stage can be given: arguments, secrets, agents. Recorded while lowering, shown by the outline.

use crate::instruction::ArgDefinition;
use crate::position::Location;
use std::collections::{BTreeMap, BTreeSet};

/// What a stage can be given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    pub(crate) args: BTreeMap<String, ArgInfo>,
    pub(crate) used_args: BTreeSet<String>,
    pub(crate) secrets: BTreeMap<String, MountInfo>,
    pub(crate) ssh: BTreeMap<String, MountInfo>,
}

/// An argument.
#[derive(Clone, Debug)]
pub(crate) struct ArgInfo {
    pub(crate) definition: ArgDefinition,
    pub(crate) value: String,
    /// Arguments in its default value.
    pub(crate) needs: BTreeSet<String>,
    pub(crate) location: Location,
}

/// A secret or agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MountInfo {
    pub(crate) required: bool,
    pub(crate) location: Location,
}
