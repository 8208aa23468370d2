//! `buildctl`: the command line of Kiln, for daemons and with the whole engine
//! inside.

mod arguments;

mod connection;
mod context;
mod embedded;
mod failure;
mod root;
mod target;

mod build;
mod debug;
mod dial_stdio;
mod disk_usage;
mod explain;
mod prune;

mod bytes_text;
mod fields;
mod progress;
mod table;
mod template;
mod usage_table;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use arguments::{Arguments, Command, LogFormat};
use context::Context;

fn main() -> ExitCode {
    let arguments = Arguments::of_process();
    init_logging(&arguments);
    progress::warn_of_colors();
    let open_files = kiln_engine::raise_open_files();
    match Context::prepare(arguments, open_files).and_then(|context| run(&context)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::FAILURE
        }
    }
}

fn run(context: &Context) -> Result<(), failure::Failure> {
    match &context.arguments.command {
        Command::Build(build) => build::run(context, build),
        Command::Du(usage) => disk_usage::run(context, usage),
        Command::Prune(prune) => prune::run(context, prune),
        Command::Explain(explain) => explain::run(context, explain),
        Command::PruneHistories(format) => debug::prune_histories(context, format),
        Command::Debug(command) => debug::run(context, command),
        Command::DialStdio => dial_stdio::run(&context.arguments.daemon),
    }
}

/// Operators' logs go to standard error, apart from the progress display.
fn init_logging(arguments: &Arguments) {
    let level = if arguments.debug {
        "debug"
    } else {
        "error,kiln_client=warn"
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KILN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(logs_are_colored())
        .with_writer(std::io::stderr);
    let _ = match arguments.log_format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
}

/// Files and pipes get no escape codes, and neither does who says so by `NO_COLOR`.
fn logs_are_colored() -> bool {
    let refuses = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refuses && std::io::stderr().is_terminal()
}
