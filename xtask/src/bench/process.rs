//! Folders and server processes that are gone when a measurement ends, however it ends.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::run::{at, last_lines};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder for everything that is measured; removed with all mounts in it.
pub(super) struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    pub(super) fn new() -> Result<WorkFolder, String> {
        let path = PathBuf::from(format!("/tmp/kiln-bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| at(&path, &error))?;
        Ok(WorkFolder { path })
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        for mount in mounts_in(&self.path) {
            let _ = Command::new("umount").arg("--lazy").arg(mount).status();
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("please remove {}: {error}", self.path.display());
        }
    }
}

/// Mount points below a folder, innermost first.
fn mounts_in(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from);
    let mut points = points
        .filter(|point| point.starts_with(folder))
        .collect::<Vec<_>>();
    points.reverse();
    points
}

/// A program that is asked to end when this process ends without doing so,
/// for example by a signal.
pub(super) fn mortal(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program);
    command
}

/// A running server.
pub(super) struct Service {
    name: &'static str,
    child: Child,
}

impl Service {
    /// Starts a server and waits until it is ready; what it says goes to `log`.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
        is_ready: impl Fn() -> bool,
    ) -> Result<Service, String> {
        let output = fs::File::create(log).map_err(|error| at(log, &error))?;
        let errors = output.try_clone().map_err(|error| at(log, &error))?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let mut service = Service { name, child };
        let start = Instant::now();
        while !is_ready() {
            let ended = service
                .child
                .try_wait()
                .map_err(|error| format!("{name}: {error}"))?;
            if ended.is_some() || start.elapsed() > PATIENCE {
                return Err(format!("{name} does not start: {}", last_lines(log)));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(service)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the server to end, so that it can unmount and stop its own children.
    fn stop(&mut self) -> bool {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.stop() {
            eprintln!(
                "{} (process {}) had to be killed",
                self.name,
                self.child.id()
            );
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
