//! Time and memory of one build.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::engine::{Build, Engine, Output};
use crate::run::{at, last_lines};

/// How often memory is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// What one build took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    /// Resident memory of all its processes at their peaks, in bytes.
    pub(super) memory: u64,
    /// Size of the archive that was written.
    pub(super) output: Option<u64>,
}

/// Runs a build from a quiet disk, with the client's whole life on the clock.
pub(super) fn measure(engine: &Engine, build: &Build<'_>, log: &Path) -> Result<Sample, String> {
    let _ = Command::new("sync").status();
    let daemons = engine.daemons();
    for process in tree(&daemons) {
        // 5 sets the peak back to what is resident now.
        let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
    }
    let mut command = engine.command(build);
    let file = fs::File::create(log).map_err(|error| at(log, &error))?;
    let errors = file.try_clone().map_err(|error| at(log, &error))?;
    command.stdout(file).stderr(errors);
    let start = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let roots = [&daemons[..], &[child.id()]].concat();
    let (end, ended) = channel();
    let (status, seconds, memory) = thread::scope(|scope| {
        let watch = scope.spawn(move || peak(&roots, &ended));
        let status = child.wait();
        let seconds = start.elapsed().as_secs_f64();
        drop(end);
        (status, seconds, watch.join().unwrap_or_default())
    });
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("{command:?}: {status}: {}", last_lines(log))),
        Err(error) => return Err(format!("{command:?}: {error}")),
    }
    let output = match build.output {
        Output::Archive(path, _) => {
            Some(fs::metadata(path).map_err(|error| at(path, &error))?.len())
        }
        Output::Kept | Output::Folder(_) | Output::Push(_) | Output::Load(..) => None,
    };
    Ok(Sample {
        seconds,
        memory,
        output,
    })
}

/// The sum of the peaks of processes and their descendants until now.
pub(super) fn peak_now(roots: &[u32]) -> u64 {
    tree(roots).into_iter().filter_map(high_water_mark).sum()
}

/// The largest sum of peaks over processes that lived at the same time.
fn peak(roots: &[u32], ended: &Receiver<()>) -> u64 {
    let mut most = 0;
    loop {
        most = most.max(peak_now(roots));
        if ended.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
            return most;
        }
    }
}

/// Processes with all their descendants. Shims of containerd detach from it:
/// they are found among the children of the first process.
fn tree(roots: &[u32]) -> Vec<u32> {
    let detached = children(1)
        .into_iter()
        .filter(|process| roots.len() > 1 && is_shim(*process));
    let mut waiting = roots.iter().copied().chain(detached).collect::<Vec<_>>();
    let mut seen = HashSet::new();
    while let Some(process) = waiting.pop() {
        if seen.insert(process) {
            waiting.extend(children(process));
        }
    }
    seen.into_iter().collect()
}

fn is_shim(process: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    name.starts_with("containerd-shim")
}

fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let lists = threads
        .into_iter()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// What a process has resident now, in bytes.
pub(super) fn resident(process: u32) -> u64 {
    memory(process, "VmRSS:").unwrap_or(0)
}

/// A process's own peak, which does not depend on when it is looked at.
fn high_water_mark(process: u32) -> Option<u64> {
    memory(process, "VmHWM:")
}

/// A line of a process's status that gives an amount of memory, in bytes.
fn memory(process: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = line.split_whitespace().next()?.parse::<u64>().ok()?;
    Some(kib * 1024)
}
