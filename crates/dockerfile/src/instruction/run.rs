//! `RUN`, `CMD` and `ENTRYPOINT`: instructions made of a command line.

use std::fmt;

use super::{Device, MountFlag};

/// `RUN [flags] <command line>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What runs.
    pub command: CommandLine,
    /// `--mount=...`, any number of times, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network=...`.
    pub network: Network,
    /// `--security=...`.
    pub security: Security,
    /// `--device=...`, any number of times, in order.
    pub devices: Vec<Device>,
}

/// `CMD <command line>`: the image's default command, or default arguments of its entry point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmd {
    /// What the image runs by default.
    pub command: CommandLine,
}

/// `ENTRYPOINT <command line>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrypoint {
    /// What the image runs.
    pub command: CommandLine,
}

/// A command line in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The arguments of the exec form, or at most one string: the text of the shell form.
    pub args: Vec<String>,
    /// Which form it is.
    pub form: Form,
    /// Heredocs of the command line, in order; only `RUN` has them.
    pub files: Vec<InlineFile>,
}

/// How a command line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Plain text, handed to the stage's shell.
    Shell,
    /// A JSON array of strings, executed as it stands.
    Exec,
}

/// A heredoc of `RUN`. The body is not expanded by the builder: that is the shell's own work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// The heredoc's word.
    pub name: String,
    /// The body as written, with its leading tabs.
    pub data: String,
    /// Whether the author asked for leading tabs to go (`<<-`); see [`crate::heredoc::chomp`].
    pub chomp: bool,
}

/// The network of a `RUN` step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Network {
    /// What the builder gives every step.
    #[default]
    Default,
    /// No network.
    None,
    /// The host's network; needs an entitlement.
    Host,
}

/// The isolation of a `RUN` step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Security {
    /// The usual sandbox.
    #[default]
    Sandbox,
    /// No sandbox; needs an entitlement.
    Insecure,
}

impl Network {
    /// Reads the flag's value.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "default" => Some(Self::Default),
            "none" => Some(Self::None),
            "host" => Some(Self::Host),
            _ => None,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::None => "none",
            Self::Host => "host",
        })
    }
}

impl Security {
    /// Reads the flag's value.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "sandbox" => Some(Self::Sandbox),
            "insecure" => Some(Self::Insecure),
            _ => None,
        }
    }
}

impl fmt::Display for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sandbox => "sandbox",
            Self::Insecure => "insecure",
        })
    }
}
