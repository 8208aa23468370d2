//! `ReadFile`, `ReadDir`, `StatFile`: a look into a result or a container.

use std::io::{Read as _, Seek as _, SeekFrom};

use bytes::Bytes;
use kiln_protocol::frontend::FileRange;
use kiln_protocol::fsutil::Stat;
use kiln_store::pattern::PatternMatcher;
use kiln_store::tree::{DirEntry, Follow, Root};

use super::{invalid, stat};
use crate::error::{BuildError, Kind};
use crate::tree::tree_error;

/// Largest piece of a file that is sent: about what fits a message.
const MAX_PIECE: u64 = 16 << 20;

/// Most entries of a directory that are sent.
const MAX_ENTRIES: usize = 100_000;

/// Reads a file or a part of it. Blocks.
pub(super) fn read(root: &Root, path: &str, range: Option<FileRange>) -> Result<Bytes, BuildError> {
    let mut file = root
        .open_file(path)
        .map_err(|error| match error.is_not_found() {
            true => invalid(format!("open {path}: no such file or directory")),
            false => tree_error(error),
        })?;
    let failed = |error| BuildError::wrap(Kind::Environment, error).context(path);
    let mut length = MAX_PIECE.saturating_add(1);
    if let Some(range) = range {
        let unsigned = |number: i64, what: &str| {
            let message = || invalid(format!("{path}: negative {what} {number} of a range"));
            u64::try_from(number).map_err(|_| message())
        };
        let offset = unsigned(range.offset, "offset")?;
        length = length.min(unsigned(range.length, "length")?);
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    }
    let mut data = Vec::new();
    file.take(length).read_to_end(&mut data).map_err(failed)?;
    if data.len() as u64 > MAX_PIECE {
        let message =
            format!("{path} has more than {MAX_PIECE} bytes, which is too much to read at once");
        return Err(invalid(message).hint("read it piece by piece, by ranges"));
    }
    Ok(data.into())
}

/// The entries of a directory whose names a pattern matches. Blocks.
pub(super) fn list(root: &Root, path: &str, pattern: &str) -> Result<Vec<Stat>, BuildError> {
    let matcher = match pattern {
        "" => None,
        _ => Some(
            PatternMatcher::new([pattern]).map_err(|error| BuildError::wrap(Kind::Input, error))?,
        ),
    };
    let entries = root.read_dir(path).map_err(tree_error)?;
    let names = entries.iter().map(name);
    let chosen = names.filter(|name| {
        let is_chosen = |matcher: &PatternMatcher| matcher.matches(name.as_bytes());
        matcher.as_ref().is_none_or(is_chosen)
    });
    let stats = chosen.take(MAX_ENTRIES.saturating_add(1)).map(|name| {
        let full = format!("{}/{name}", path.trim_end_matches('/'));
        stat::stat(root, &full, Follow::No, &name).map_err(tree_error)
    });
    let stats = stats.collect::<Result<Vec<_>, _>>()?;
    if stats.len() > MAX_ENTRIES {
        let message = format!("{path} has more than {MAX_ENTRIES} entries to list");
        return Err(invalid(message).hint("choose some with a pattern"));
    }
    Ok(stats)
}

fn name(entry: &DirEntry) -> String {
    entry.name.to_string_lossy().into_owned()
}

/// What is at a path, behind the symlinks there. Blocks.
pub(super) fn stat(root: &Root, path: &str) -> Result<Stat, BuildError> {
    let clean = path.trim_end_matches(['/', '.']);
    let name = clean.rsplit('/').next().filter(|name| !name.is_empty());
    stat::stat(root, path, Follow::Yes, name.unwrap_or("/")).map_err(|error| {
        match error.is_not_found() {
            true => invalid(format!("lstat {path}: no such file or directory")),
            false => tree_error(error),
        }
    })
}
