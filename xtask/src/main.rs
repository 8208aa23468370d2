//! Developer commands: `cargo xtask <command>`, the same locally and in CI.

mod bench;
mod ci;
mod codegen;
mod example;
mod fuzz;
mod licenses;
mod packages;
mod run;
mod setup;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  test      install what the tests need, then everything CI checks
  ci        format, lints, tidy, licences, tests and docs
  tidy      the project's own rules: dependency table, file sizes, names
  codegen   Rust code from crates/protocol/proto
  example   build examples/hello and say where the result is
  bench     measure against the reference engine and write docs/benchmarks.md
  fuzz      run fuzz targets from their corpora, ten minutes each, and keep what they found
  setup     only install what the tests need (Debian packages, as root)
";

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let command = arguments.first().map_or("", String::as_str);
    let outcome = match command {
        "test" => setup::run().and_then(|()| ci::run()),
        "ci" => ci::run(),
        "tidy" => tidy::run(),
        "codegen" => codegen::run().map_err(|error| error.to_string()),
        "example" => example::run(),
        "bench" => bench::run(&arguments[1..]),
        "fuzz" => fuzz::run(&arguments[1..]),
        "setup" => setup::run(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {command}: {message}");
            ExitCode::FAILURE
        }
    }
}
