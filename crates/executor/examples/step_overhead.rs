//! Measures what one step costs: `busybox true` in an overlay root filesystem, by every executor.
//!
//! `cargo run --release -p kiln-executor --example step_overhead -- [runs] [native] [runc] [crun]`

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kiln_executor::native::{NativeExecutor, Options};
use kiln_executor::oci::OciExecutor;
use kiln_executor::{ExecIo, ExecRequest, Executor, Mount};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let runs = arguments
        .first()
        .and_then(|first| first.parse().ok())
        .unwrap_or(50);
    arguments.retain(|argument| argument.parse::<usize>().is_err());
    if arguments.is_empty() {
        arguments = ["native", "runc", "crun"].map(str::to_owned).to_vec();
    }
    let dir = tempfile::tempdir()?;
    let rootfs = dir.path().join("rootfs");
    kiln_testkit::rootfs::busybox(&rootfs)?;
    let options = Options::new(dir.path().join("state"));

    let runtime = tokio::runtime::Runtime::new()?;
    for name in &arguments {
        let executor: Box<dyn Executor> = match name.as_str() {
            "native" => Box::new(NativeExecutor::new(options.clone())?),
            binary => Box::new(OciExecutor::new(binary, options.clone())?),
        };
        let mut times = Vec::new();
        for run in 0..runs {
            let upper = dir.path().join(format!("{name}{run}"));
            let request =
                ExecRequest::new(format!("{name}{run}"), overlay(&rootfs, &upper)?, ["true"]);
            let begin = Instant::now();
            let status = runtime.block_on(executor.run(
                request,
                ExecIo::default(),
                CancellationToken::new(),
            ))?;
            times.push(begin.elapsed());
            assert!(status.success(), "{status}");
        }
        times.sort();
        let at = |part: f64| {
            times
                .get((times.len() as f64 * part) as usize)
                .copied()
                .unwrap_or(Duration::ZERO)
        };
        println!(
            "{name:8} {runs} runs: median {:?}, 90% {:?}, fastest {:?}",
            at(0.5),
            at(0.9),
            at(0.0)
        );
    }
    Ok(())
}

fn overlay(lower: &Path, dir: &Path) -> std::io::Result<Vec<Mount>> {
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    Ok(vec![Mount {
        kind: "overlay".to_owned(),
        source: "overlay".into(),
        options: vec![
            format!("lowerdir={}", lower.display()),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
            "volatile".to_owned(),
        ],
    }])
}
