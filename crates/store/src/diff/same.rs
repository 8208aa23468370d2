//! Whether a file that overlayfs copied up is really different from the one below. As upstream decides it: metadata
//! first, content only if the times may have been cut to seconds.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};

use crate::tree::{Dir, FileKind, Metadata};

const CAPABILITY: &CStr = c"security.capability";
const BUFFER: usize = 256 << 10;

/// What metadata alone can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    Same,
    Different,
    Unsure(Check),
}

/// What is left to compare, besides file capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Nothing,
    LinkTarget,
    Content,
}

pub(super) fn by_metadata(before: &Metadata, now: &Metadata) -> Guess {
    if before.identity() == now.identity() {
        return Guess::Same;
    }
    let alike = before.kind == now.kind
        && before.mode == now.mode
        && before.owner == now.owner
        && before.rdev == now.rdev
        && (now.is_dir() || before.size == now.size && before.mtime == now.mtime);
    match (alike, now.kind) {
        (false, _) => Guess::Different,
        (true, FileKind::Directory) => Guess::Unsure(Check::Nothing),
        (true, _) if now.mtime.nanos != 0 => Guess::Unsure(Check::Nothing),
        (true, FileKind::Symlink) => Guess::Unsure(Check::LinkTarget),
        (true, FileKind::File) if now.size > 0 => Guess::Unsure(Check::Content),
        (true, _) => Guess::Unsure(Check::Nothing),
    }
}

pub(super) fn by_content(
    before: (&Dir, &CStr),
    now: (&Dir, &CStr),
    check: Check,
) -> io::Result<bool> {
    if before.0.xattr(before.1, CAPABILITY)? != now.0.xattr(now.1, CAPABILITY)? {
        return Ok(false);
    }
    match check {
        Check::Nothing => Ok(true),
        Check::LinkTarget => Ok(before.0.read_link(before.1)? == now.0.read_link(now.1)?),
        Check::Content => same_bytes(before.0.open_file(before.1)?, now.0.open_file(now.1)?),
    }
}

fn same_bytes(mut one: File, mut other: File) -> io::Result<bool> {
    let (mut ours, mut theirs) = (Vec::with_capacity(BUFFER), Vec::with_capacity(BUFFER));
    loop {
        ours.clear();
        theirs.clear();
        one.by_ref().take(BUFFER as u64).read_to_end(&mut ours)?;
        other
            .by_ref()
            .take(BUFFER as u64)
            .read_to_end(&mut theirs)?;
        if ours != theirs {
            return Ok(false);
        }
        if ours.is_empty() {
            return Ok(true);
        }
    }
}
