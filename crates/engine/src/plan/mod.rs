//! What a build would do, without doing it.
//!
//! The frontend runs as ever, but through a door that runs no steps. What it comes to is solved by a solver of its own,
//! over the same caches, of which nothing is written: its ops find out what sources stand for and read directories of
//! the client, and instead of running they answer that they would. An op that looks at the content of such a result has
//! no digest of it, so that the solver goes on as after a miss; what might be in the cache after all is `unknown`.

mod document;

mod caches;
mod door;
mod op;
mod sheet;

mod layers;

mod describe;
mod exports;

mod run;

pub use document::{
    Certainty, Fate, Plan, PlannedCacheExport, PlannedLayer, PlannedOutput, PlannedStep, Pull,
};
pub(crate) use run::run;
