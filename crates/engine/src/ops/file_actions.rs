//! Performs the actions of a file op, each on top of what it names.

use std::sync::Arc;

use kiln_llb::pb::{self, file_action::Action};
use kiln_store::tar::Timestamp;
use kiln_store::tree::{Mkdir, Mkfile, Owner, Remove, Root, Symlink};
use kiln_store::user::{self, NameOrId};
use kiln_store::{MountedDir, MutableOptions, MutableRef, Ref};

use super::{Output, file_copy};
use crate::error::{BuildError, Detail, FailedStep, Kind};
use crate::tree::{self, OpenTree, store_error, tree_error};
use crate::worker::Worker;

/// A path seen from the root: `a` and `/a` alike, `.` and `..` resolved as
/// text (the tree is opened so that nothing leads out of it anyway).
pub(super) fn absolute(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// One run of an op's actions.
pub(super) struct Run {
    worker: Arc<Worker>,
    name: String,
    debris: Debris,
    /// The op's inputs, then one slot per action performed so far.
    slots: Vec<Slot>,
}

/// What becomes of the tree that a failed action was working on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debris {
    /// It comes with the error, for those who look into it.
    Kept,
    /// It is gone.
    Discarded,
}

/// What an index names.
enum Slot {
    /// A finished tree.
    Done(Output),
    /// A tree still being written, which the next action may go on with.
    Open(Box<OpenMutable>),
    /// Taken over by a later action.
    Taken,
}

impl Slot {
    fn output(&self) -> Output {
        match self {
            Self::Done(output) => output.clone(),
            Self::Open(_) | Self::Taken => None,
        }
    }
}

/// A mutable ref, open for writing.
struct OpenMutable {
    // Dropped in this order: the root is closed and unmounted before the
    // mutable ref may be committed or discarded.
    root: Root,
    mount: Option<MountedDir>,
    mutable: MutableRef,
}

impl OpenMutable {
    fn commit(self) -> Result<Ref, BuildError> {
        let Self {
            root,
            mount,
            mutable,
        } = self;
        drop(root);
        drop(mount);
        mutable.commit().map_err(store_error)
    }
}

impl Run {
    pub(super) fn new(
        worker: Arc<Worker>,
        inputs: Vec<Output>,
        name: String,
        debris: Debris,
    ) -> Self {
        Self {
            worker,
            name,
            debris,
            slots: inputs.into_iter().map(Slot::Done).collect(),
        }
    }

    /// Performs all actions and returns the op's outputs. Blocks.
    pub(super) fn actions(mut self, actions: &[pb::FileAction]) -> Result<Vec<Output>, BuildError> {
        let inputs: Vec<Output> = self.slots.iter().map(Slot::output).collect();
        let first = inputs.len();
        let mut outputs = std::collections::BTreeMap::new();
        for (position, action) in actions.iter().enumerate() {
            let uses = uses(actions, (first + position) as i64);
            let mut step = FailedStep {
                file_action: i64::try_from(position).ok(),
                ..FailedStep::default()
            };
            let done = self
                .result(action, |target| {
                    step.inputs = inputs.clone();
                    step.mounts = vec![None; actions.len()];
                    step.mounts[position] = Some(target);
                })
                .map_err(|error| error.detail(Detail::Step(Arc::new(step))))?;
            let is_output = action.output >= 0;
            let slot = if is_output || uses.must_be_finished() {
                Slot::Done(Some(done.commit()?))
            } else {
                Slot::Open(Box::new(done))
            };
            self.slots.push(slot);
            if is_output && outputs.insert(action.output, first + position).is_some() {
                let message = format!("duplicate output {}", action.output);
                return Err(BuildError::new(Kind::Input, message));
            }
        }
        let outputs = outputs.values().map(|slot| self.finished(*slot));
        outputs.collect()
    }

    fn finished(&self, slot: usize) -> Result<Output, BuildError> {
        match self.slots.get(slot) {
            Some(Slot::Done(output)) => Ok(output.clone()),
            _ => Err(BuildError::new(
                Kind::Internal,
                format!("file action result {slot} is not finished"),
            )),
        }
    }

    /// The tree with one action performed on it. `keep` gets it as a failed action left it, if anybody wants it.
    fn result(
        &mut self,
        action: &pb::FileAction,
        keep: impl FnOnce(Ref),
    ) -> Result<OpenMutable, BuildError> {
        let target = self.target(action.input)?;
        match (self.perform(action, &target), self.debris) {
            (Ok(()), _) => Ok(target),
            (Err(error), Debris::Kept) => {
                keep(target.commit()?);
                Err(error)
            }
            (Err(error), Debris::Discarded) => Err(error),
        }
    }

    fn perform(&self, action: &pb::FileAction, target: &OpenMutable) -> Result<(), BuildError> {
        match &action.action {
            Some(Action::Copy(copy)) => {
                let source = self.read(action.secondary_input)?;
                let owner = self.owner(copy.owner.as_ref())?;
                file_copy::copy(&source.root, &target.root, copy, owner)?;
            }
            Some(Action::Mkfile(file)) => {
                let request = Mkfile {
                    path: file.path.clone(),
                    mode: file.mode as u32 & 0o7777,
                    data: file.data.clone(),
                    owner: self.owner(file.owner.as_ref())?,
                    timestamp: timestamp(file.timestamp),
                };
                target.root.mkfile(&request).map_err(tree_error)?;
            }
            Some(Action::Mkdir(dir)) => {
                let request = Mkdir {
                    path: dir.path.clone(),
                    mode: dir.mode as u32 & 0o7777,
                    make_parents: dir.make_parents,
                    owner: self.owner(dir.owner.as_ref())?,
                    timestamp: timestamp(dir.timestamp),
                };
                target.root.mkdir(&request).map_err(tree_error)?;
            }
            Some(Action::Rm(rm)) => {
                let request = Remove {
                    path: rm.path.clone(),
                    allow_not_found: rm.allow_not_found,
                    allow_wildcard: rm.allow_wildcard,
                };
                target.root.remove(&request).map_err(tree_error)?;
            }
            Some(Action::Symlink(link)) => {
                let request = Symlink {
                    target: link.oldpath.clone(),
                    path: link.newpath.clone(),
                    owner: self.owner(link.owner.as_ref())?,
                    timestamp: timestamp(link.timestamp),
                };
                target.root.symlink(&request).map_err(tree_error)?;
            }
            None => {
                return Err(BuildError::new(
                    Kind::Input,
                    "file action of a kind that is not known",
                ));
            }
        }
        Ok(())
    }

    /// The tree to write to: the unfinished one that `input` names, or a new
    /// layer on top of the finished one.
    fn target(&mut self, input: i64) -> Result<OpenMutable, BuildError> {
        let parent = match usize::try_from(input) {
            Err(_) => None,
            Ok(index) => match self
                .slots
                .get_mut(index)
                .map(|slot| std::mem::replace(slot, Slot::Taken))
            {
                Some(Slot::Open(open)) => return Ok(*open),
                Some(Slot::Done(output)) => {
                    self.slots[index] = Slot::Done(output.clone());
                    output
                }
                Some(Slot::Taken) | None => return Err(bad_index(input)),
            },
        };
        let options = MutableOptions {
            description: self.name.clone(),
            ..MutableOptions::default()
        };
        let store = &self.worker.store;
        let mutable = store
            .mutable(parent.as_ref(), options)
            .map_err(store_error)?;
        if let Some(dir) = mutable.local_dir() {
            return Ok(OpenMutable {
                root: Root::open(dir).map_err(tree_error)?,
                mount: None,
                mutable,
            });
        }
        let mount = store
            .mount(&mutable.mounts().map_err(store_error)?)
            .map_err(store_error)?;
        let root = Root::open(mount.path()).map_err(tree_error)?;
        Ok(OpenMutable {
            root,
            mount: Some(mount),
            mutable,
        })
    }

    /// A finished tree, open for reading; no index is an empty tree.
    fn read(&self, input: i64) -> Result<OpenTree, BuildError> {
        let output = match usize::try_from(input) {
            Err(_) => None,
            Ok(index) => match self.slots.get(index) {
                Some(Slot::Done(output)) => output.as_ref(),
                _ => return Err(bad_index(input)),
            },
        };
        tree::open(&self.worker.store, output)
    }

    fn owner(&self, owner: Option<&pb::ChownOpt>) -> Result<Option<Owner>, BuildError> {
        let Some(owner) = owner else { return Ok(None) };
        let user = self.name_or_id(owner.user.as_ref())?;
        let group = self.name_or_id(owner.group.as_ref())?;
        let user = user.as_ref().map(|(tree, name)| (name, &tree.root));
        let group = group.as_ref().map(|(tree, name)| (name, &tree.root));
        let owner = user::owner(user, group);
        owner
            .map(Some)
            .map_err(|error| BuildError::wrap(Kind::Input, error))
    }

    /// A user or group with the tree whose database knows its name.
    fn name_or_id(
        &self,
        user: Option<&pb::UserOpt>,
    ) -> Result<Option<(OpenTree, NameOrId)>, BuildError> {
        match user.and_then(|user| user.user.as_ref()) {
            None => Ok(None),
            Some(pb::user_opt::User::ById(id)) => Ok(Some((self.read(-1)?, NameOrId::Id(*id)))),
            Some(pb::user_opt::User::ByName(named)) if named.input < 0 => Err(no_users(named)),
            Some(pb::user_opt::User::ByName(named)) => {
                let tree = self.read(named.input)?;
                Ok(Some((tree, NameOrId::Name(named.name.clone()))))
            }
        }
    }
}

fn no_users(named: &pb::NamedUserOpt) -> BuildError {
    let pb::NamedUserOpt { name, input } = named;
    BuildError::new(
        Kind::Input,
        format!(
            "invalid user index: {input}: there are no users in an empty base, so {name:?} has \
             no number; give the number"
        ),
    )
}

fn bad_index(input: i64) -> BuildError {
    BuildError::new(
        Kind::Input,
        format!("invalid input index {input} in file op"),
    )
}

/// How later actions use one action's result.
struct Uses {
    written: usize,
    read: usize,
}

impl Uses {
    /// Only a result that exactly one action goes on with, and nobody reads,
    /// can stay unfinished.
    fn must_be_finished(&self) -> bool {
        self.read > 0 || self.written != 1
    }
}

fn uses(actions: &[pb::FileAction], index: i64) -> Uses {
    let reads = |action: &pb::FileAction| {
        let owner = match &action.action {
            Some(Action::Copy(copy)) => copy.owner.as_ref(),
            Some(Action::Mkfile(file)) => file.owner.as_ref(),
            Some(Action::Mkdir(dir)) => dir.owner.as_ref(),
            Some(Action::Symlink(link)) => link.owner.as_ref(),
            _ => None,
        };
        let users = owner
            .into_iter()
            .flat_map(|owner| [&owner.user, &owner.group])
            .flatten();
        let mut named = users.filter_map(|user| match &user.user {
            Some(pb::user_opt::User::ByName(named)) => Some(named.input),
            _ => None,
        });
        action.secondary_input == index || named.any(|input| input == index)
    };
    Uses {
        written: actions
            .iter()
            .filter(|action| action.input == index)
            .count(),
        read: actions.iter().filter(|action| reads(action)).count(),
    }
}

/// LLB times are nanoseconds since the epoch; -1 means none was given.
pub(super) fn timestamp(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds != -1).then(|| Timestamp {
        seconds: nanoseconds.div_euclid(1_000_000_000),
        nanos: nanoseconds.rem_euclid(1_000_000_000) as u32,
    })
}
