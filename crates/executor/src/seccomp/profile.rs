//! What the default profile allows, by architecture.

use super::bpf::{Compare, Section, Segment, Verdict};

/// Names, rules and numbers; see its head.
const TABLE: &str = include_str!("profile.txt");

/// Namespace flags that an unprivileged `clone` may not have.
const NAMESPACES: u32 = 0x7e02_0000;
/// The address families that are refused, with one allowed between them.
const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;
/// `personality` values that change nothing of importance, and the query.
const PERSONALITIES: [u32; 5] = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// One system call of the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: &'static str,
    /// When it is allowed.
    pub(crate) rule: Rule,
    numbers: [Option<u32>; 5],
}

/// When a system call is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Always.
    Allow,
    /// Never, but as if the kernel did not have it, so that callers fall back.
    NoSys,
    /// By its first argument.
    Argument(ArgumentRule),
}

/// The three system calls that are judged by an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgumentRule {
    /// Without new namespaces.
    Clone,
    /// A handful of values.
    Personality,
    /// All address families but two.
    Socket,
}

/// Column of an architecture in the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Architecture {
    column: usize,
    /// `AUDIT_ARCH_…`.
    audit: u32,
    /// Set in the numbers of x32.
    flag: u32,
    /// Name in an OCI specification.
    pub(crate) oci: &'static str,
}

const X86_64: Architecture = Architecture {
    column: 0,
    audit: 0xc000_003e,
    flag: 0,
    oci: "SCMP_ARCH_X86_64",
};
const X32: Architecture = Architecture {
    column: 1,
    audit: 0xc000_003e,
    flag: 0x4000_0000,
    oci: "SCMP_ARCH_X32",
};
const I386: Architecture = Architecture {
    column: 2,
    audit: 0x4000_0003,
    flag: 0,
    oci: "SCMP_ARCH_X86",
};
const AARCH64: Architecture = Architecture {
    column: 3,
    audit: 0xc000_00b7,
    flag: 0,
    oci: "SCMP_ARCH_AARCH64",
};
const ARM: Architecture = Architecture {
    column: 4,
    audit: 0x4000_0028,
    flag: 0,
    oci: "SCMP_ARCH_ARM",
};

/// The architectures whose programs this machine runs, its own first.
pub(crate) fn native_architectures() -> &'static [Architecture] {
    if cfg!(target_arch = "aarch64") {
        &[AARCH64, ARM]
    } else {
        &[X86_64, X32, I386]
    }
}

/// The profile's system calls that exist on this machine.
pub(crate) fn entries() -> Vec<Entry> {
    let columns: Vec<usize> = native_architectures()
        .iter()
        .map(|architecture| architecture.column)
        .collect();
    TABLE
        .lines()
        .filter_map(entry)
        .filter(|entry| {
            columns
                .iter()
                .any(|column| entry.numbers.get(*column).is_some_and(Option::is_some))
        })
        .collect()
}

fn entry(line: &'static str) -> Option<Entry> {
    let mut fields = line.split_whitespace();
    let name = fields.next().filter(|name| !name.starts_with('#'))?;
    let rule = match fields.next()? {
        "nosys" => Rule::NoSys,
        "clone" => Rule::Argument(ArgumentRule::Clone),
        "personality" => Rule::Argument(ArgumentRule::Personality),
        "socket" => Rule::Argument(ArgumentRule::Socket),
        _ => Rule::Allow,
    };
    let mut numbers = [None; 5];
    for (number, field) in numbers.iter_mut().zip(fields) {
        *number = field.parse().ok();
    }
    Some(Entry {
        name,
        rule,
        numbers,
    })
}

/// Alternatives of which one must hold for the first argument, as an OCI specification puts them:
/// operator, value, and second value of `SCMP_CMP_MASKED_EQ`.
pub(crate) fn rule_arguments(rule: ArgumentRule) -> Vec<(&'static str, u64, u64)> {
    match rule {
        ArgumentRule::Clone => vec![("SCMP_CMP_MASKED_EQ", u64::from(NAMESPACES), 0)],
        ArgumentRule::Personality => PERSONALITIES
            .iter()
            .map(|value| ("SCMP_CMP_EQ", u64::from(*value), 0))
            .collect(),
        ArgumentRule::Socket => vec![
            ("SCMP_CMP_LT", u64::from(AF_ALG), 0),
            ("SCMP_CMP_EQ", u64::from(AF_ALG) + 1, 0),
            ("SCMP_CMP_GT", u64::from(AF_VSOCK), 0),
        ],
    }
}

/// The same alternatives for the filter. The kernel takes all three arguments as 32 bits and so do we:
/// a comparison of 64 bits would let `socket` through with the refused family in the lower half.
fn compares(rule: ArgumentRule) -> Vec<Compare> {
    match rule {
        ArgumentRule::Clone => vec![Compare::NoneOf(NAMESPACES)],
        ArgumentRule::Personality => PERSONALITIES
            .iter()
            .map(|value| Compare::Equal(*value))
            .collect(),
        ArgumentRule::Socket => {
            vec![
                Compare::Below(AF_ALG),
                Compare::Equal(AF_ALG + 1),
                Compare::Above(AF_VSOCK),
            ]
        }
    }
}

/// One section of the filter per architecture.
pub(super) fn sections() -> Vec<Section> {
    let entries: Vec<Entry> = TABLE.lines().filter_map(entry).collect();
    native_architectures()
        .iter()
        .map(|architecture| section(architecture, &entries))
        .collect()
}

fn section(architecture: &Architecture, entries: &[Entry]) -> Section {
    let mut numbers: Vec<(u32, Verdict)> = entries
        .iter()
        .filter_map(|entry| {
            let number = entry.numbers.get(architecture.column).copied().flatten()?;
            let verdict = match entry.rule {
                Rule::Allow => Verdict::Allow,
                Rule::NoSys => Verdict::Errno(ENOSYS),
                Rule::Argument(rule) => Verdict::AllowIf(compares(rule), EPERM),
            };
            Some((number | architecture.flag, verdict))
        })
        .collect();
    numbers.sort_by_key(|(number, _)| *number);

    // Runs of equal verdict, so that the filter searches few boundaries instead of many numbers.
    let mut segments = vec![Segment {
        first: 0,
        verdict: Verdict::Errno(EPERM),
    }];
    let mut next = 0;
    for (number, verdict) in numbers {
        if number > next {
            push(&mut segments, next, Verdict::Errno(EPERM));
        }
        push(&mut segments, number, verdict);
        next = number + 1;
    }
    push(&mut segments, next, Verdict::Errno(ENOSYS));
    Section {
        audit: architecture.audit,
        flag: architecture.flag,
        segments,
    }
}

fn push(segments: &mut Vec<Segment>, first: u32, verdict: Verdict) {
    match segments.last_mut() {
        Some(last) if last.verdict == verdict => {}
        Some(last) if last.first == first => last.verdict = verdict,
        _ => segments.push(Segment { first, verdict }),
    }
}
