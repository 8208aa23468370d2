//! What a step has used, as its cgroup knows it (the kernel's `Documentation/admin-guide/cgroup-v2.rst`).

use std::fs::File;
use std::io::Read as _;
use std::os::fd::BorrowedFd;

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags, openat};
use serde::Serialize;

use super::counters::{Counters, Name, plain};
use super::pressure;

const CPU: [Name; 6] = [
    micro("usage_usec", "usageNanos"),
    micro("user_usec", "userNanos"),
    micro("system_usec", "systemNanos"),
    plain("nr_periods", "nrPeriods"),
    plain("nr_throttled", "nrThrottled"),
    micro("throttled_usec", "throttledNanos"),
];

const MEMORY: [Name; 14] = [
    plain("anon", "anon"),
    plain("file", "file"),
    plain("kernel_stack", "kernelStack"),
    plain("pagetables", "pageTables"),
    plain("sock", "sock"),
    plain("shmem", "shmem"),
    plain("file_mapped", "fileMapped"),
    plain("file_dirty", "fileDirty"),
    plain("file_writeback", "fileWriteback"),
    plain("slab", "slab"),
    plain("pgscan", "pgscan"),
    plain("pgsteal", "pgsteal"),
    plain("pgfault", "pgfault"),
    plain("pgmajfault", "pgmajfault"),
];

const MEMORY_EVENTS: [Name; 5] = [
    plain("low", "lowEvents"),
    plain("high", "highEvents"),
    plain("max", "maxEvents"),
    plain("oom", "oomEvents"),
    plain("oom_kill", "oomKillEvents"),
];

const IO: [Name; 6] = [
    plain("rbytes", "readBytes"),
    plain("wbytes", "writeBytes"),
    plain("dbytes", "discardBytes"),
    plain("rios", "readIOs"),
    plain("wios", "writeIOs"),
    plain("dios", "discardIOs"),
];

const PIDS: Name = plain("", "current");
const PEAK: Name = plain("", "peak");
const SWAP: Name = plain("", "swapBytes");

const fn micro(kernel: &'static str, json: &'static str) -> Name {
    Name {
        kernel,
        json,
        factor: 1000,
    }
}

/// What a step has used until a moment. What its cgroup has no controller for is left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepSample {
    /// When.
    pub timestamp: Timestamp,
    /// Of processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_stat: Option<Counters>,
    /// Of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_stat: Option<Counters>,
    /// Of disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_stat: Option<Counters>,
    /// Of processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_stat: Option<Counters>,
}

impl StepSample {
    /// Reads the files of a cgroup v2.
    pub(super) fn of(cgroup: BorrowedFd<'_>) -> Self {
        let directory = Directory(cgroup);
        Self {
            timestamp: Timestamp::now(),
            cpu_stat: directory.cpu(),
            memory_stat: directory.memory(),
            io_stat: directory.io(),
            pids_stat: directory.single("pids.current", &PIDS),
        }
    }
}

struct Directory<'a>(BorrowedFd<'a>);

impl Directory<'_> {
    /// A file's text; `None` if there is no such file.
    fn read(&self, file: &str) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut text = String::new();
        let mut file = File::from(openat(self.0, file, flags, Mode::empty()).ok()?);
        file.read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn pressure(&self, file: &str) -> Option<super::Pressure> {
        pressure::parse(&self.read(file)?)
    }

    fn single(&self, file: &str, name: &Name) -> Option<Counters> {
        let mut counters = Counters::default();
        counters.add(name, self.read(file)?.trim().parse().ok()?);
        Some(counters)
    }

    fn cpu(&self) -> Option<Counters> {
        let mut counters = Counters::default();
        counters.add_lines(&self.read("cpu.stat")?, &CPU);
        Some(counters.with_pressure(self.pressure("cpu.pressure")))
    }

    fn memory(&self) -> Option<Counters> {
        let mut counters = Counters::default();
        counters.add_lines(&self.read("memory.stat")?, &MEMORY);
        counters.add_lines(
            &self.read("memory.events").unwrap_or_default(),
            &MEMORY_EVENTS,
        );
        for (file, name) in [("memory.peak", &PEAK), ("memory.swap.current", &SWAP)] {
            let number = self.read(file).and_then(|text| text.trim().parse().ok());
            if let Some(number) = number {
                counters.add(name, number);
            }
        }
        Some(counters.with_pressure(self.pressure("memory.pressure")))
    }

    /// Sums over all disks: each has a line with a number and `name=value` pairs.
    fn io(&self) -> Option<Counters> {
        let mut counters = Counters::default();
        let text = self.read("io.stat")?;
        let pairs = text.split_whitespace();
        for (key, value) in pairs.filter_map(|pair| pair.split_once('=')) {
            let name = IO.iter().find(|name| name.kernel == key);
            if let (Some(name), Ok(number)) = (name, value.parse()) {
                counters.add(name, number);
            }
        }
        Some(counters.with_pressure(self.pressure("io.pressure")))
    }
}
