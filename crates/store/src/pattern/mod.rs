//! Docker's path patterns: `.dockerignore` files, `COPY --exclude` and `--parents`, what a client sends of its context.
//!
//! A pattern matches a whole path, or one of the directories above it, by the rules of Go's `filepath.Match` and with
//! `**` for any number of directories. Of several patterns the last one that matches decides; `!` in front makes it an
//! exception. Paths are relative, slash-separated and clean.

mod clean;
mod compile;
mod ignore_file;
mod matcher;

pub use clean::clean;
pub use compile::{Pattern, PatternError};
pub use ignore_file::{IgnoreFileError, read_ignore_file};
pub use matcher::{MatchState, PatternMatcher};
