//! Walks of directories that others may be changing, filtered as Docker filters build contexts.

pub mod crew;
mod detail;
mod entry;
mod filter;
mod follow;
mod root;
mod scan;
pub mod xattr;

pub use detail::Detail;
pub use entry::{Entry, Kind, Stamp, Time, walk_order};
pub use filter::{Filter, FilterError, FilterState, Verdict};
pub use follow::follow;
pub use root::WalkRoot;
pub use scan::{ScanError, Walk, scan, scan_with};
