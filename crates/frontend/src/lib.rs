//! The Dockerfile frontend: asks whoever builds for what lowering lacks, until nothing is open.
//!
//! Reading order: [`run`] is the loop; all it wants of the world goes through a [`Door`]. The engine is one, for
//! the frontend that is built in; [`gateway`] is the other, for the frontend as an image.

mod door;
mod failure;
mod run;

mod answers;
pub mod caps;
mod questions;
pub mod sbom;
pub mod syntax;
mod warnings;

pub mod metadata;

pub mod gateway;

pub use door::{Door, DoorError, Notice, SourceMeta};
pub use failure::{Failure, Missing, Place, chain};
pub use run::{Build, Outcome, Request, Target, run};
