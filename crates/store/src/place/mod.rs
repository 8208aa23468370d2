//! Putting files into a directory that belongs to somebody else.
//!
//! Every step goes through an open directory and a name in it that is never followed if it is a
//! symbolic link, so nothing outside is ever touched, whatever the directory holds.

mod attributes;
mod replace;

pub use attributes::Attributes;
pub use replace::{Failure, names, open_directory, open_parent, remove, replace, temporary_name};
