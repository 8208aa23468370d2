//! Room for walks that recurse once for every directory level.

/// Stack that one level may need, with a wide margin for builds without optimisation.
const LEVEL: usize = 128 << 10;
/// Stack that is added when less than that is left.
const SEGMENT: usize = 2 << 20;

/// Runs one level of a walk, on more stack if there is little left: how deep a tree is, others decide.
pub(crate) fn level<T>(walk: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEVEL, SEGMENT, walk)
}
