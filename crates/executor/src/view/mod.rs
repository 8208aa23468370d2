//! The root filesystem as a step sees it: who it runs as, its files under `/etc`, its mounts.

pub(crate) mod bundle;
pub(crate) mod devices;
pub(crate) mod hosts;
pub(crate) mod mounts;
mod options;
pub(crate) mod resolv;
pub(crate) mod root;
pub(crate) mod stubs;
pub(crate) mod system;
pub(crate) mod user;
