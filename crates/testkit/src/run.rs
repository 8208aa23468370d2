//! Running other programs with errors that say what went wrong.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, Output};
use std::thread;

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

/// Reads what a server says on standard error until a line has `ready` in it,
/// and lets the server go on talking.
pub(crate) fn wait_for_line(child: &mut Child, ready: &str) -> io::Result<()> {
    let mut lines = BufReader::new(child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?).lines();
    let mut seen = String::new();
    for line in lines.by_ref() {
        let line = line?;
        if line.contains(ready) {
            thread::spawn(move || lines.for_each(drop));
            return Ok(());
        }
        seen += &line;
        seen.push('\n');
    }
    Err(io::Error::other(format!(
        "a server ended before it was ready: {seen}"
    )))
}
