//! Numbers for Prometheus, by the names that upstream gives them.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

use crate::life::Life;
use crate::steps::Counts;

/// The numbers of a daemon.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    builds: Family<BuildLabels, Counter>,
    steps: Family<StepLabels, Counter>,
    duration: Family<StatusLabels, Histogram>,
    spans: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    status: &'static str,
    error_code: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabels {
    status: &'static str,
}

impl Metrics {
    /// All zero.
    pub(crate) fn new(life: Life) -> Self {
        let mut registry = Registry::default();
        let builds = Family::default();
        let steps = Family::default();
        let duration = Family::new_with_constructor(duration_histogram as fn() -> Histogram);
        let spans = Counter::default();
        registry.register(
            "buildkit_builds",
            "Builds that ended, by status and code of their error",
            builds.clone(),
        );
        registry.register(
            "buildkit_builds_steps",
            "Steps of builds that ended, by what became of them",
            steps.clone(),
        );
        registry.register_with_unit(
            "buildkit_build_duration",
            "Time from the begin to the end of a build",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register(
            "buildkit_trace_spans",
            "Spans that clients sent",
            spans.clone(),
        );
        registry.register_collector(Box::new(Process { life }));
        Self {
            registry: Mutex::new(registry),
            builds,
            steps,
            duration,
            spans,
        }
    }

    /// Counts a build that ended.
    pub(crate) fn build(&self, counts: Counts, duration: Duration, error: Option<Code>) {
        let status = if error.is_none() {
            "success"
        } else {
            "failure"
        };
        let labels = BuildLabels {
            status,
            error_code: error.map(|code| format!("{code:?}")),
        };
        self.builds.get_or_create(&labels).inc();
        let steps = [
            ("completed", counts.completed),
            ("cached", counts.cached),
            ("total", counts.total),
            ("warnings", counts.warnings),
        ];
        for (kind, count) in steps {
            self.steps.get_or_create(&StepLabels { kind }).inc_by(count);
        }
        let durations = self.duration.get_or_create(&StatusLabels { status });
        durations.observe(duration.as_secs_f64());
    }

    /// Counts spans that arrived.
    pub(crate) fn spans(&self, count: u64) {
        self.spans.inc_by(count);
    }

    /// All numbers in Prometheus's text form.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// From a tenth of a second to about an hour.
fn duration_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.1, 2.0, 16))
}

/// Numbers that are looked up when somebody asks.
struct Process {
    life: Life,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Process")
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::<i64>::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge(
            "buildkit_builds_running",
            "Builds in flight",
            self.life.builds() as u64,
        )?;
        gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            resident_memory(),
        )?;
        gauge("process_open_fds", "Open files", open_files())?;
        let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        gauge("process_threads", "Threads", threads as u64)
    }
}

/// Bytes of memory that are in use by this process.
pub(crate) fn resident_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Open files of this process.
pub(crate) fn open_files() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64
}
