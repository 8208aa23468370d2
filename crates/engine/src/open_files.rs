//! The number of files that may be open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A limit of open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// What counts; may be raised up to `hard`.
    pub soft: u64,
    /// What `soft` may be raised to.
    pub hard: u64,
}

/// More than any build needs; an unlimited hard limit would let tables grow
/// without bound.
const ENOUGH: u64 = 1 << 20;

/// Raises this process's soft limit: connections, layers and files of contexts
/// are many, and the usual soft limit is for programs that use `select`.
/// Steps may be such programs, so what it was is for them
/// ([`EngineOptions::open_files`](crate::EngineOptions)).
pub fn raise_open_files() -> OpenFiles {
    let limit = getrlimit(Resource::Nofile);
    let before = OpenFiles {
        soft: limit.current.unwrap_or(u64::MAX),
        hard: limit.maximum.unwrap_or(u64::MAX),
    };
    let wanted = before.hard.min(ENOUGH);
    if before.soft < wanted {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files stays");
        }
    }
    before
}
