//! Kernel calls that have no safe form. The only place of this crate with `unsafe`.

pub(crate) mod calls;
pub(crate) mod spawn;
