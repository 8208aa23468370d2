//! Runs a shell script in a root filesystem as a user who is not root.
//!
//! `rootless STATE ROOTFS SCRIPT [CERTIFICATES]`
//!
//! With certificates for the script to trust it also gets a network in which somebody says `reached` on `$PORT`.

use std::error::Error;
use std::io::Write;

use kiln_executor::native::{NativeExecutor, Options};
use kiln_executor::network::isolated_with_listener;
use kiln_executor::{ExecIo, ExecRequest, Executor, Mount, Network};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn Error>> {
    println!("{:?}", kiln_executor::rootless::enter()?);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [state, rootfs, script, certificates @ ..] = arguments.as_slice() else {
        return Err("usage: rootless STATE ROOTFS SCRIPT [CERTIFICATES]".into());
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
        let mut request = ExecRequest::new(
            "step",
            vec![Mount::bind(rootfs)],
            ["/bin/sh", "-c", script.as_str()],
        );
        if let Some(certificates) = certificates.first() {
            let (namespace, listener) = isolated_with_listener()?;
            let port = listener.local_addr()?.port();
            request.network = Network::Joined(namespace);
            request.env = vec![format!("PORT={port}")];
            request.trusted_authority = Some(certificates.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let _ = (&stream).write_all(b"reached\n");
                }
            });
        }
        let print = async {
            while let Some(bytes) = received.recv().await {
                print!("{}", String::from_utf8_lossy(&bytes));
            }
        };
        let status = tokio::join!(executor.run(request, io, CancellationToken::new()), print).0;
        Ok::<_, Box<dyn Error>>(status?)
    })?;
    println!("{status}");
    Ok(())
}
