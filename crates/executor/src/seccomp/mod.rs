//! The field's default seccomp profile, compiled once per process.

mod bpf;
mod profile;

use std::sync::OnceLock;

pub(crate) use bpf::Instruction;
pub(crate) use profile::{Entry, Rule, entries, native_architectures, rule_arguments};

/// The filter for a process with the default capabilities on this machine's architecture.
pub(crate) fn default_filter() -> &'static [Instruction] {
    static FILTER: OnceLock<Vec<Instruction>> = OnceLock::new();
    FILTER.get_or_init(|| bpf::program(&profile::sections()))
}
