//! Facts about the machine, for the report.

use std::fs;
use std::process::Command;
use std::thread;

/// What numbers depend on.
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) processor: String,
    pub(super) memory: String,
    pub(super) kernel: String,
    pub(super) date: String,
    /// Average number of runnable processes in the last minute.
    pub(super) load: f64,
}

impl Machine {
    pub(super) fn look() -> Machine {
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let memory = memory
            .split_whitespace()
            .next()
            .and_then(|kib| kib.parse::<f64>().ok());
        Machine {
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            memory: memory.map_or("unknown".into(), |kib| {
                format!("{:.0} GiB", kib / 1048576.0)
            }),
            kernel: read("/proc/sys/kernel/osrelease"),
            date: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            load: load(),
        }
    }
}

/// Average number of runnable processes in the last minute.
pub(super) fn load() -> f64 {
    let averages = read("/proc/loadavg");
    averages
        .split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or_default()
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

/// The first `name: value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = read(path);
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().trim_start_matches(':').trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let stdout = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&stdout).trim_end().to_owned()
}
