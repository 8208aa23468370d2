//! Frontends outside of the engine: clients that drive their builds, and
//! images.

mod calls;
mod containers;
mod ends;
mod images;
mod remotes;
mod world;
