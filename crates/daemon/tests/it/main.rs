//! The daemon from outside: its settings as data, and the program on sockets.

#![allow(clippy::unwrap_used)]

mod activation;
mod builds;
mod buildx;
mod calls;
mod config;
mod containerd;
mod devices;
mod history;
mod llb;
mod load;
mod process;
mod sessions;
mod settings;
mod stop;
mod tls;
