//! The typed instructions of a Dockerfile.
//!
//! One struct per instruction, all of them plain data with public fields. Words are kept **unexpanded**, as the
//! author wrote them; lowering expands them with [`Command::expand`] once it knows the variables.

mod build;
mod copy;
mod device;
mod duration;
mod error;
mod expand;
mod fields;
mod flags;
mod healthcheck;
mod metadata;
mod mount;
mod run;
mod size;

use crate::position::Location;

pub(crate) use build::{Instruction, build};
pub use copy::{Add, Copy, SourceContent, Sources};
pub use device::Device;
pub use duration::DurationError;
pub use error::InstructionError;
pub use fields::FieldsError;
pub use healthcheck::Healthcheck;
pub use metadata::{
    Arg, ArgDefinition, Delimiter, Env, Expose, KeyValue, Label, Maintainer, Onbuild, Shell,
    Stopsignal, User, Volume, Workdir,
};
pub use mount::{Mount, MountError, MountFlag, MountType, Sharing};
pub use run::{Cmd, CommandLine, Entrypoint, Form, InlineFile, Network, Run, Security};

/// An instruction or other node together with what surrounds it in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The node itself.
    pub value: T,
    /// The keyword in the author's own casing (`RUN`, `run`, `Run`).
    pub keyword: String,
    /// The instruction's text on one line: continuation lines joined, comments and heredoc bodies left out.
    pub source: String,
    /// The lines of the instruction, heredoc bodies included.
    pub location: Location,
    /// The comments directly above, without the `#`; an empty comment line cuts them off.
    pub comments: Vec<String>,
}

/// One instruction of a build stage. `FROM` is not among them: it opens a [`Stage`](crate::Stage).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `ADD`
    Add(Add),
    /// `ARG`
    Arg(Arg),
    /// `CMD`
    Cmd(Cmd),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(Entrypoint),
    /// `ENV`
    Env(Env),
    /// `EXPOSE`
    Expose(Expose),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`
    Label(Label),
    /// `MAINTAINER`
    Maintainer(Maintainer),
    /// `ONBUILD`
    Onbuild(Onbuild),
    /// `RUN`
    Run(Run),
    /// `SHELL`
    Shell(Shell),
    /// `STOPSIGNAL`
    Stopsignal(Stopsignal),
    /// `USER`
    User(User),
    /// `VOLUME`
    Volume(Volume),
    /// `WORKDIR`
    Workdir(Workdir),
}
