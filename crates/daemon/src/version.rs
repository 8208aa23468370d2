//! What the daemon says it is.

/// The BuildKit whose API and behaviour this is; clients decide by it what to
/// ask for. What follows the plus sign does not count in comparisons.
pub(crate) const BUILDKIT: &str = concat!("v0.32.0+kiln.", env!("CARGO_PKG_VERSION"));

/// The Dockerfile frontend's version.
pub(crate) const DOCKERFILE: &str = kiln_engine::DOCKERFILE_VERSION;

/// The program.
pub(crate) const PACKAGE: &str = "kiln";

/// What `--version` prints after the name, in upstream's order.
pub(crate) const LONG: &str = concat!("kiln v0.32.0+kiln.", env!("CARGO_PKG_VERSION"));
