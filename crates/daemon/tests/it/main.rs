//! The daemon from outside: its settings as data, and the program on sockets.

mod activation;
mod builds;
mod calls;
mod config;
mod history;
mod llb;
mod process;
mod settings;
mod stop;
mod tls;
