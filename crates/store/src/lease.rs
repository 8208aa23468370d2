//! Leases: what a process uses stays on disk until that process lets go of it or dies, which the kernel notices.

/// While a lease lives, blobs written or looked up after it began are not reclaimed, whether or not anything
/// refers to them yet. Take one for each piece of work (a build, an export) that makes blobs before it records
/// who needs them. Refs hold themselves and need no lease. Dropping it, or the death of the process, ends it.
#[derive(Debug)]
pub struct Lease {
    _file: std::fs::File,
}
