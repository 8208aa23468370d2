//! The client against a real containerd.

mod connection;
mod images;
mod scene;
mod unpack;
mod write;
