//! `buildkitd`: the build daemon.

use std::process::ExitCode;

use clap::Parser as _;
use kiln_daemon::{Arguments, Environment};

fn main() -> ExitCode {
    match kiln_daemon::run(&Arguments::parse(), &Environment::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("buildkitd: {error}");
            ExitCode::FAILURE
        }
    }
}
