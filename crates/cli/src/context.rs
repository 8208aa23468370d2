//! What every command works with: its flags, its engine and its output.

use std::io::Write as _;

use kiln_client::Client;
use kiln_engine::{Engine, OpenFiles};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::target::{self, Surroundings, Target};
use crate::template::{Template, Value};
use crate::{connection, root};

/// A command's surroundings.
pub(crate) struct Context {
    pub(crate) arguments: Arguments,
    pub(crate) target: Target,
    /// What the limit of open files was at the start.
    open_files: OpenFiles,
}

/// An engine that is ready.
pub(crate) enum Opened {
    /// The one in this process.
    Embedded(Box<Engine>),
    /// A daemon.
    Daemon(Client),
}

impl Context {
    /// Chooses the engine and, if it is the one in this process, makes the
    /// process ready for it. Must be called before any thread is started.
    pub(crate) fn prepare(
        mut arguments: Arguments,
        open_files: OpenFiles,
    ) -> Result<Self, Failure> {
        let target = target::choose(&arguments, &Surroundings::of_process())?;
        if target == Target::Embedded {
            root::prepare(&mut arguments)?;
        }
        Ok(Self {
            arguments,
            target,
            open_files,
        })
    }

    /// Opens or connects to the engine. Must be called within a tokio runtime.
    pub(crate) async fn open(&self) -> Result<Opened, Failure> {
        match &self.target {
            Target::Embedded => {
                let engine = root::open_engine(&self.arguments, self.open_files)?;
                Ok(Opened::Embedded(Box::new(engine)))
            }
            Target::Daemon(address) => {
                let client = connection::connect(address, &self.arguments.daemon).await?;
                Ok(Opened::Daemon(client))
            }
            Target::Nothing => Err(Failure::usage("this command works without an engine")),
        }
    }

    /// Connects to the daemon; `what` cannot be had from the engine in this
    /// process.
    pub(crate) async fn daemon(&self, what: &str) -> Result<Client, Failure> {
        match &self.target {
            Target::Daemon(address) => connection::connect(address, &self.arguments.daemon).await,
            Target::Embedded | Target::Nothing => Err(Failure::usage(format!(
                "{what} is kept by daemons, not by the engine in this process: \
                 start buildkitd, or name one with --addr"
            ))),
        }
    }
}

/// `--format`, if there is one worth the name.
pub(crate) fn template(format: Option<&str>) -> Result<Option<Template>, Failure> {
    let format = format.filter(|format| !format.is_empty());
    format.map(Template::parse).transpose()
}

/// Prints a filled template as a line.
pub(crate) fn print_filled(template: &Template, value: &Value) -> Result<(), Failure> {
    print(&(template.fill(value)? + "\n"))
}

/// Prints to standard output at once.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    let written = written.and_then(|()| stdout.flush());
    written.map_err(|error| Failure::usage(format!("standard output: {error}")))
}
