//! The client against a real containerd.

#![allow(clippy::unwrap_used)]

mod connection;
mod images;
mod scene;
mod unpack;
mod write;
