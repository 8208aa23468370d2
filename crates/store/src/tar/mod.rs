//! Tar archives: a bounded reader for whatever the world writes, and a writer that emits the field's bytes.
//!
//! The reader understands V7, USTAR, PAX (with its three sparse forms and global headers) and GNU (long names, sparse
//! files, binary numbers). The writer chooses the same header form, field by field, as Go's `archive/tar` does, so that
//! a layer written here has the digest that other builders give it.

mod block;
mod header;
mod limits;
mod number;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use header::{EntryKind, Format, Header, Timestamp};
pub use limits::{Limits, ReadError};
pub use reader::{Piece, Reader};
pub use writer::{WriteError, Writer};

/// PAX record prefix under which extended attributes travel.
pub const XATTR_RECORD_PREFIX: &str = "SCHILY.xattr.";
