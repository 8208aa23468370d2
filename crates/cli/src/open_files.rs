//! The number of files that may be open at once.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one: contexts and results have many
/// files, and the usual soft limit is for programs that use `select`.
pub(crate) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}
