//! Removing what should not be in the destination.

use std::os::fd::AsFd;

use kiln_store::place::{names, remove};

use super::Job;
use super::directory::DirNode;
use crate::ExportError;

impl Job {
    /// Removes all entries of a directory but those to be kept.
    pub(super) fn remove_others(
        &self,
        node: &DirNode,
        keep: impl Fn(&[u8]) -> bool,
    ) -> Result<(), ExportError> {
        for name in
            names(node.fd.as_fd()).map_err(|error| self.file_error("read", node, None, error))?
        {
            if !keep(name.as_bytes()) {
                remove(node.fd.as_fd(), &name).map_err(|error| {
                    self.file_error("remove", node, Some(name.as_bytes()), error)
                })?;
            }
        }
        Ok(())
    }
}
