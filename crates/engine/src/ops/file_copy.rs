//! The copy action of file ops.

use kiln_llb::pb;
use kiln_store::tree::{CopyRequest, ModeChange, Owner, Root};

use super::file_actions::timestamp;
use crate::error::BuildError;
use crate::tree::tree_error;

pub(super) fn copy(
    source: &Root,
    dest: &Root,
    copy: &pb::FileActionCopy,
    owner: Option<Owner>,
) -> Result<(), BuildError> {
    let request = CopyRequest {
        source: copy.src.clone(),
        dest: copy.dest.clone(),
        owner,
        mode: mode_change(copy)?,
        timestamp: timestamp(copy.timestamp),
        follow_symlink: copy.follow_symlink,
        dir_copy_contents: copy.dir_copy_contents,
        unpack_archives: copy.attempt_unpack_docker_compatibility,
        create_dest_path: copy.create_dest_path,
        allow_wildcard: copy.allow_wildcard,
        allow_empty_wildcard: copy.allow_empty_wildcard,
        always_replace: copy.always_replace_existing_dest_paths,
        include: copy.include_patterns.clone(),
        exclude: copy.exclude_patterns.clone(),
    };
    dest.copy_from(source, &request).map_err(tree_error)
}

/// `mode` is -1 when the source's mode is kept; a symbolic mode goes first.
fn mode_change(copy: &pb::FileActionCopy) -> Result<Option<ModeChange>, BuildError> {
    if !copy.mode_str.is_empty() {
        return ModeChange::parse(&copy.mode_str)
            .map(Some)
            .map_err(tree_error);
    }
    let mode = u32::try_from(copy.mode).ok();
    Ok(mode.map(|mode| ModeChange::absolute(mode & 0o7777)))
}
