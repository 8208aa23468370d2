//! Building LLB: states, what is done to them, and their encoding.
//!
//! The same steps always encode to the same bytes as they do with every other client of the
//! protocol: order of inputs and mounts, defaults, capabilities. That is what makes caches match.

pub use constraints::{CUSTOM_NAME, Constraints};
pub use env::Env;
pub use exec::{Access, Exec, FileOwner, Mount, MountKind, Run, Secret, SshSocket};
pub use file::{Copy, FileActions, MakeDir, MakeFile, Mode, Owner, Remove, Symlink, Time, User};
pub use git::GitOptions;
pub use marshal::{MarshalError, MarshalOptions};
pub use marshal_exec::DEFAULT_PATH;
pub use source::{
    Differ, HttpOptions, ImageOptions, ImageRecord, LocalOptions, MetadataOnly, OciLayoutOptions,
    ResolveMode,
};
pub use source_map::{SourceLocation, SourceMap};
pub use state::{Deferred, Settings, State};

mod constraints;
mod env;
mod source_map;
mod state;

mod exec;
mod file;
mod git;
mod source;

mod load;
mod node;

mod marshal;
mod marshal_exec;
mod marshal_file;
