//! `dockerfile-frontend`: the Dockerfile frontend as the program of an image for `gateway.v0`.

use std::process::ExitCode;

use kiln_frontend::gateway;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let ran = runtime.block_on(gateway::run());
    // A read of standard input may be under way, which nothing ends.
    runtime.shutdown_background();
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("dockerfile-frontend: {}", kiln_frontend::chain(error));
    ExitCode::FAILURE
}
