//! Images: configs, manifests and indexes from layers.

pub(crate) mod json;
pub(crate) mod model;
pub(crate) mod names;

mod history;
mod time;

mod config;

mod assemble;
mod attest;

pub(crate) use assemble::{
    Assembled, AssembledManifest, Assembly, assemble, check_annotations, configs,
};
pub(crate) use time::Time;
