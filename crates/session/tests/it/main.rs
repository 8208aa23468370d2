//! Both ends of a session against each other.

mod content;
mod credentials;
mod export_stream;
mod exporters;
mod headers;
mod pair;
mod secrets;
mod sessions;
mod ssh;
mod transfer;
mod transfer_hostile;
mod transfer_random;
mod upload;
mod vanishing;
