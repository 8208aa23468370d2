//! Judgement on Dockerfiles that build but should be written otherwise.
//!
//! [`rules`] is the table of all rules with their messages. [`check_syntax`] applies those that need nothing but the
//! text; the others are applied by lowering, which knows variables, platforms and base images.

mod config;
mod linter;
pub mod rules;
mod syntax;

pub use config::{CheckOptionError, LintConfig, Selection};
pub use linter::{Linter, Violations, Warning};
pub use rules::{Finding, Rule};
pub(crate) use syntax::check_instructions;
pub use syntax::check_syntax;
