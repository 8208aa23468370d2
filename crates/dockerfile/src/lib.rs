//! Dockerfile text to LLB and image config.
//!
//! Pure functions: nothing here touches a disk, a network or a clock. Reading order:
//! text becomes a [`Dockerfile`] ([`parse()`]), whose words are expanded ([`shell`]) and whose habits are judged ([`lint`])
//! while it is lowered to LLB.

/// The version of the Dockerfile language, as BuildKit counts them, that this is.
pub const LANGUAGE_VERSION: &str = "1.26.0";

pub mod position;

pub mod directive;
pub mod error;
pub mod heredoc;
pub mod instruction;
pub mod lint;
pub mod parse;
pub mod shell;
pub mod suggest;

mod archive;
pub mod image;
pub mod known;
pub mod lower;
pub mod options;
pub mod sbom;

pub mod outline;
pub mod subrequest;
pub mod targets;

pub use directive::Directive;
pub use error::{SyntaxError, SyntaxErrorKind};
pub use instruction::{Command, Located};
pub use known::{Answer, Known, Question, ResolvedConfig};
pub use lint::{LintConfig, Linter, Warning};
pub use lower::{
    DockerfileLocation, LowerError, LowerErrorKind, Lowered, Lowering, Source, lint_part,
    load_dockerfile, load_dockerignore, lower,
};
pub use options::{OptionError, Options};
pub use parse::{Alias, Dockerfile, Stage, parse, parse_trigger};
pub use position::{Line, Location, Position, Range};
