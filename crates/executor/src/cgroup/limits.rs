//! Resource limits as files of a cgroup.

use crate::Resources;

/// One limit: the controller that enforces it, the file and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) controller: &'static str,
    pub(crate) file: &'static str,
    pub(crate) value: String,
}

const DEFAULT_PERIOD: u64 = 100_000;

/// Limits for cgroup v1, in an order that the kernel accepts.
pub(crate) fn v1(resources: &Resources) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut add = |wanted: bool, controller, file, value: String| {
        if wanted {
            limits.push(Limit {
                controller,
                file,
                value,
            });
        }
    };
    let r = resources;
    add(
        r.memory != 0,
        "memory",
        "memory.limit_in_bytes",
        r.memory.to_string(),
    );
    add(
        r.memory_swap != 0,
        "memory",
        "memory.memsw.limit_in_bytes",
        r.memory_swap.to_string(),
    );
    add(
        r.cpu_shares != 0,
        "cpu",
        "cpu.shares",
        r.cpu_shares.to_string(),
    );
    add(
        r.cpu_period != 0,
        "cpu",
        "cpu.cfs_period_us",
        r.cpu_period.to_string(),
    );
    add(
        r.cpu_quota != 0,
        "cpu",
        "cpu.cfs_quota_us",
        r.cpu_quota.to_string(),
    );
    add(
        !r.cpuset_cpus.is_empty(),
        "cpuset",
        "cpuset.cpus",
        r.cpuset_cpus.clone(),
    );
    add(
        !r.cpuset_mems.is_empty(),
        "cpuset",
        "cpuset.mems",
        r.cpuset_mems.clone(),
    );
    limits
}

/// Limits for cgroup v2.
pub(crate) fn v2(resources: &Resources) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut add = |wanted: bool, controller, file, value: String| {
        if wanted {
            limits.push(Limit {
                controller,
                file,
                value,
            });
        }
    };
    let r = resources;
    let or_max = |value: i64| {
        if value < 0 {
            "max".to_owned()
        } else {
            value.to_string()
        }
    };
    add(r.memory != 0, "memory", "memory.max", or_max(r.memory));
    // v1 limits memory and swap together, v2 swap alone.
    let swap = if r.memory_swap > 0 && r.memory > 0 {
        (r.memory_swap - r.memory).max(0)
    } else {
        r.memory_swap
    };
    add(
        r.memory_swap != 0,
        "memory",
        "memory.swap.max",
        or_max(swap),
    );
    add(
        r.cpu_shares != 0,
        "cpu",
        "cpu.weight",
        weight(r.cpu_shares).to_string(),
    );
    let period = if r.cpu_period == 0 {
        DEFAULT_PERIOD
    } else {
        r.cpu_period
    };
    let quota = if r.cpu_quota == 0 { -1 } else { r.cpu_quota };
    add(
        r.cpu_quota != 0 || r.cpu_period != 0,
        "cpu",
        "cpu.max",
        format!("{} {period}", or_max(quota)),
    );
    add(
        !r.cpuset_cpus.is_empty(),
        "cpuset",
        "cpuset.cpus",
        r.cpuset_cpus.clone(),
    );
    add(
        !r.cpuset_mems.is_empty(),
        "cpuset",
        "cpuset.mems",
        r.cpuset_mems.clone(),
    );
    limits
}

/// v1's shares, 2 to 262144, on v2's scale, 1 to 10000.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions() {
        let check = |limits: Vec<Limit>, expected: &str| {
            let seen: Vec<String> = limits
                .iter()
                .map(|limit| format!("{}={}", limit.file, limit.value))
                .collect();
            assert_eq!(seen.join("; "), expected);
        };
        let all = Resources {
            memory: 1 << 20,
            memory_swap: 3 << 20,
            cpu_shares: 1024,
            cpu_quota: 50_000,
            cpu_period: 0,
            cpuset_cpus: "0-1".to_owned(),
            cpuset_mems: "0".to_owned(),
        };
        check(
            v2(&all),
            "memory.max=1048576; memory.swap.max=2097152; cpu.weight=39; cpu.max=50000 100000; \
             cpuset.cpus=0-1; cpuset.mems=0",
        );
        check(
            v1(&all),
            "memory.limit_in_bytes=1048576; memory.memsw.limit_in_bytes=3145728; cpu.shares=1024; \
             cpu.cfs_quota_us=50000; cpuset.cpus=0-1; cpuset.mems=0",
        );
        check(
            v2(&Resources {
                memory_swap: -1,
                cpu_period: 20_000,
                ..Resources::default()
            }),
            "memory.swap.max=max; cpu.max=max 20000",
        );
        check(v1(&Resources::default()), "");
    }
}
