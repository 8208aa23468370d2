//! A client of a Docker engine, for delivering images into it.
//!
//! [`Engine::connect`] asks an engine how it keeps images. The engine is an [`ImageReceiver`](kiln_session::ImageReceiver):
//! it says which layers it has, and takes archives without these.
//!
//! Engines keep images in one of two ways. With graph drivers, layers are looked up by chain id before their files in an
//! archive are read; which chains there are is told by the images that there are. With containerd, an archive may lack
//! what is in the content store, which can be asked for each blob.

mod address;
mod error;

mod connection;
mod content;
mod images;

mod answer;
mod load;

mod engine;

pub use address::Address;
pub use engine::{Engine, ImageStore};
pub use error::DockerError;
