//! Checks inside one op: every index it uses must exist.

use crate::graph::LoadError;
use kiln_protocol::pb::{self, file_action, op, user_opt};

/// More file actions or outputs than this in one op are refused.
const MAX_PARTS: usize = 100_000;

/// Checks the indexes which `action` uses against its number of inputs.
pub(crate) fn check_indexes(digest: &str, action: &op::Op, inputs: usize) -> Result<(), LoadError> {
    let check = Check {
        digest,
        inputs: inputs as i64,
    };
    match action {
        op::Op::Exec(exec) => check.exec(exec),
        op::Op::File(file) => check.file(file),
        op::Op::Build(build) => check.build(build),
        op::Op::Merge(merge) => merge
            .inputs
            .iter()
            .try_for_each(|input| check.optional(input.input)),
        op::Op::Diff(diff) => {
            let lower = diff.lower.as_ref().map_or(-1, |it| it.input);
            let upper = diff.upper.as_ref().map_or(-1, |it| it.input);
            check.optional(lower).and(check.optional(upper))
        }
        op::Op::Passthrough(pass) => pass
            .outputs
            .iter()
            .try_for_each(|input| check.required(*input)),
        op::Op::Source(_) => Ok(()),
    }
}

struct Check<'a> {
    digest: &'a str,
    inputs: i64,
}

impl Check<'_> {
    fn within(&self, what: &'static str, index: i64, low: i64, high: i64) -> Result<(), LoadError> {
        if (low..high).contains(&index) {
            return Ok(());
        }
        Err(LoadError::Index {
            digest: self.digest.into(),
            what,
            index,
        })
    }

    fn required(&self, index: i64) -> Result<(), LoadError> {
        self.within("input", index, 0, self.inputs)
    }

    /// -1 stands for an empty input.
    fn optional(&self, index: i64) -> Result<(), LoadError> {
        self.within("input", index, -1, self.inputs)
    }

    fn exec(&self, exec: &pb::ExecOp) -> Result<(), LoadError> {
        for mount in &exec.mounts {
            self.optional(mount.input)?;
            self.within("output", mount.output, -1, exec.mounts.len() as i64)?;
        }
        Ok(())
    }

    /// Actions count the op's inputs first and then the earlier actions.
    fn file(&self, file: &pb::FileOp) -> Result<(), LoadError> {
        for (position, action) in file.actions.iter().enumerate() {
            let known = self.inputs + position as i64;
            self.within("input", action.input, -1, known)?;
            self.within("input", action.secondary_input, -1, known)?;
            self.within("output", action.output, -1, MAX_PARTS as i64)?;
            let owner = match &action.action {
                Some(file_action::Action::Copy(copy)) => copy.owner.as_ref(),
                Some(file_action::Action::Mkfile(make)) => make.owner.as_ref(),
                Some(file_action::Action::Mkdir(make)) => make.owner.as_ref(),
                Some(file_action::Action::Symlink(link)) => link.owner.as_ref(),
                _ => None,
            };
            let users = owner
                .into_iter()
                .flat_map(|it| [it.user.as_ref(), it.group.as_ref()]);
            for user in users.flatten() {
                if let Some(user_opt::User::ByName(named)) = &user.user {
                    self.within("user input", named.input, -1, known)?;
                }
            }
        }
        Ok(())
    }

    fn build(&self, build: &pb::BuildOp) -> Result<(), LoadError> {
        self.optional(build.builder)?;
        build
            .inputs
            .values()
            .try_for_each(|input| self.optional(input.input))
    }
}
