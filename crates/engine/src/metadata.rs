//! The metadata of a state directory as text.

use std::path::Path;

use crate::error::{BuildError, Kind};

/// Everything in the database below a root, row by row. Blocks.
pub fn dump_metadata(root: &Path) -> Result<String, BuildError> {
    let text = kiln_store::database::dump(root);
    text.map_err(|error| BuildError::wrap(Kind::Environment, error))
}
