//! Which engine a command talks to.

use crate::arguments::Arguments;
use crate::failure::Failure;

/// The address that stands for the engine in this process.
const EMBEDDED: &str = "embedded:";

/// Checks that the embedded engine is meant: daemons cannot be reached yet,
/// and building somewhere else than asked would be wrong silently.
pub(crate) fn require_embedded(arguments: &Arguments) -> Result<(), Failure> {
    match arguments.addr.as_deref() {
        None | Some("" | EMBEDDED) => Ok(()),
        Some(address) => Err(Failure::usage(format!(
            "cannot use the daemon at {address:?}: connecting to a daemon is not supported yet; \
             leave out --addr (and unset BUILDKIT_HOST) or use --addr {EMBEDDED}"
        ))),
    }
}
