//! What the machine does as a whole (`proc(5)`).

use std::fs;
use std::ops::Sub;

use jiff::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::counters::{Counters, Name, plain};
use super::pressure::{self, Pressure};

/// Units of `/proc/stat` in a second: to programs the kernel's clock has had this rate always.
const TICKS: u64 = 100;

/// Kinds of time, in the order of `/proc/stat`.
const TIMES: [&str; 10] = [
    "user",
    "nice",
    "system",
    "idle",
    "iowait",
    "irq",
    "softirq",
    "steal",
    "guest",
    "guestNice",
];

const PROCESSES: [Name; 3] = [
    plain("ctxt", "contextSwitches"),
    plain("processes", "processCreated"),
    plain("procs_running", "processesRunning"),
];

/// In KiB, as BuildKit has them.
const MEMORY: [Name; 11] = [
    plain("MemTotal", "total"),
    plain("MemFree", "free"),
    plain("MemAvailable", "available"),
    plain("Buffers", "buffers"),
    plain("Cached", "cached"),
    plain("Active", "active"),
    plain("Inactive", "inactive"),
    plain("SwapTotal", "swap"),
    plain("Dirty", "dirty"),
    plain("Writeback", "writeback"),
    plain("Slab", "slab"),
];

/// What all processors did since the machine was started, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTimes([u64; TIMES.len()]);

/// The machine at a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemSample {
    /// When.
    pub timestamp: Timestamp,
    /// What its processors have done.
    pub cpu_stat: CpuTimes,
    /// Processes.
    pub proc_stat: Counters,
    /// Memory, in KiB.
    pub memory_stat: Counters,
    /// Lack of processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_pressure: Option<Pressure>,
    /// Lack of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_pressure: Option<Pressure>,
    /// Waiting for disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_pressure: Option<Pressure>,
}

impl SystemSample {
    /// As it is now. What cannot be read is empty.
    pub fn now() -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{file}")).unwrap_or_default();
        let counters = |text: &str, names| {
            let mut counters = Counters::default();
            counters.add_lines(text, names);
            counters
        };
        let stat = read("stat");
        let pressure = |what| pressure::parse(&read(&format!("pressure/{what}")));
        Self {
            timestamp: Timestamp::now(),
            cpu_stat: CpuTimes::parse(&stat),
            proc_stat: counters(&stat, &PROCESSES),
            memory_stat: counters(&read("meminfo"), &MEMORY),
            cpu_pressure: pressure("cpu"),
            memory_pressure: pressure("memory"),
            io_pressure: pressure("io"),
        }
    }
}

impl CpuTimes {
    /// Until now.
    pub fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(stat: &str) -> Self {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
        let words = line.unwrap_or_default().split_whitespace();
        let mut times = Self::default();
        for (time, word) in times.0.iter_mut().zip(words) {
            *time = word
                .parse::<u64>()
                .unwrap_or(0)
                .saturating_mul(1000 / TICKS);
        }
        times
    }
}

impl Sub for CpuTimes {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        let mut times = self;
        for (time, before) in times.0.iter_mut().zip(before.0) {
            *time = time.saturating_sub(before);
        }
        times
    }
}

impl Serialize for CpuTimes {
    /// In seconds.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(TIMES.len()))?;
        for (name, time) in TIMES.iter().zip(self.0) {
            // Exact: a day of a thousand processors is far below 2^53 ms.
            #[expect(clippy::cast_precision_loss)]
            let seconds = time as f64 / 1000.0;
            map.serialize_entry(name, &seconds)?;
        }
        map.end()
    }
}
