//! Running other programs with errors that say what went wrong.

use std::io;
use std::process::{Command, Output};

/// Runs `command` to its end; anything but success is an error with its standard error in it.
pub(crate) fn checked(command: &mut Command) -> io::Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot run {program}: {error}; install the Debian package it is in"),
        )
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(io::Error::other(format!(
        "{command:?} failed with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
