//! What is to be done for each file of a new snapshot.

use std::collections::HashMap;

use kiln_store::walk::{Entry, Kind};

use super::index::{Indexed, Trust};

/// How a file of the snapshot comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The snapshot before has it, and its stamp proves that it is unchanged.
    Keep,
    /// The snapshot before may have it: look closer, then keep or make it.
    Check,
    /// Make it from the source.
    Make,
    /// Another name of the file at this place in the list.
    Link(usize),
}

/// Whether files may be taken from the snapshot before without looking at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    /// Yes, by their stamps.
    Stamps,
    /// No.
    Never,
}

/// One step for each entry. `partners` are the same paths as they were before.
pub(super) fn plan(
    entries: &[Entry],
    partners: &[Option<&Indexed>],
    compare: Compare,
) -> Vec<Step> {
    let step = |(entry, partner): (&Entry, &Option<&Indexed>)| match partner {
        Some(partner) if compare == Compare::Stamps => by_stamp(entry, partner),
        _ => Step::Make,
    };
    entries.iter().zip(partners).map(step).collect()
}

fn by_stamp(entry: &Entry, partner: &Indexed) -> Step {
    let (now, before) = (&entry.stamp, &partner.entry.stamp);
    if now == before && partner.trust == Trust::Stamp {
        return Step::Keep;
    }
    // Equal content does not make two files one, nor one file two.
    let same_names = now.inode == before.inode || !(now.is_linked() || before.is_linked());
    if now.resembles(before) && same_names && now.kind != Kind::Socket {
        Step::Check
    } else {
        Step::Make
    }
}

/// Makes names of one file stay together, once nothing is left to check: if one of them
/// is made anew, it is that file that the others name.
pub(super) fn join_names(entries: &[Entry], steps: &mut [Step]) {
    let mut names: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
    for (at, entry) in entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.stamp.is_linked())
    {
        names
            .entry((entry.stamp.device, entry.stamp.inode))
            .or_default()
            .push(at);
    }
    for names in names.into_values() {
        if names.iter().all(|&at| steps[at] == Step::Keep) {
            continue;
        }
        for &at in &names {
            steps[at] = if at == names[0] {
                Step::Make
            } else {
                Step::Link(names[0])
            };
        }
    }
}
