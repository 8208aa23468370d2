//! `buildctl`: the command line of Kiln, with the whole engine inside.

mod address;
mod arguments;
mod build;
mod bytes_text;
mod disk_usage;
mod dump_llb;
mod failure;
mod fields;
mod progress;
mod prune;
mod root;
mod table;
mod usage_table;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command, DebugCommand};

fn main() -> ExitCode {
    let mut arguments = Arguments::parse();
    init_logging(arguments.debug);
    match root::prepare(&mut arguments).and_then(|()| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), failure::Failure> {
    match &arguments.command {
        Command::Build(build) => build::run(arguments, build),
        Command::Du(usage) => disk_usage::run(arguments, usage),
        Command::Prune(prune) => prune::run(arguments, prune),
        Command::Debug(DebugCommand::DumpLlb(dump)) => dump_llb::run(dump),
    }
}

/// Operators' logs go to standard error, apart from the progress display.
fn init_logging(debug: bool) {
    let level = if debug { "debug" } else { "error" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KILN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
