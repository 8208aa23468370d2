//! Runs a shell script in a root filesystem as a user who is not root.
//!
//! `rootless STATE ROOTFS SCRIPT`

use std::error::Error;

use kiln_executor::native::{NativeExecutor, Options};
use kiln_executor::{ExecIo, ExecRequest, Executor, Mount};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:?}", kiln_executor::rootless::enter()?);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [state, rootfs, script] = arguments.as_slice() else {
        return Err("usage: rootless STATE ROOTFS SCRIPT".into());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let status = runtime.block_on(async {
        let executor = NativeExecutor::new(Options::new(state))?;
        let (stdout, mut received) = tokio::sync::mpsc::channel(4);
        let io = ExecIo {
            stdout: Some(stdout.clone()),
            stderr: Some(stdout),
            ..ExecIo::default()
        };
        let request = ExecRequest::new(
            "step",
            vec![Mount::bind(rootfs)],
            ["/bin/sh", "-c", script.as_str()],
        );
        let print = async {
            while let Some(bytes) = received.recv().await {
                print!("{}", String::from_utf8_lossy(&bytes));
            }
        };
        tokio::join!(executor.run(request, io, CancellationToken::new()), print).0
    })?;
    println!("{status}");
    Ok(())
}
