//! What steps, and the machine around them, use of processors, memory and disks. As JSON it is what BuildKit's
//! provenance says of it.

mod cgroup;
mod counters;
mod pressure;
mod series;
mod system;
mod watch;

pub use cgroup::StepSample;
pub use counters::Counters;
pub use pressure::{Pressure, PressureValues};
pub use series::Series;
pub use system::{CpuTimes, SystemSample};
pub(crate) use watch::Watch;
