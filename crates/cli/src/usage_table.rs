//! Prints records of disk usage.

use std::time::SystemTime;

use kiln_engine::UsageRecord;

use crate::bytes_text::size;
use crate::table::align;

/// Heads of the columns of [`row`].
pub(crate) fn header() -> Vec<String> {
    ["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"]
        .map(str::to_owned)
        .to_vec()
}

/// One record as a line.
pub(crate) fn row(record: &UsageRecord) -> Vec<String> {
    let mark = |text: String, marked: bool| if marked { text + "*" } else { text };
    let id = mark(record.id.clone(), record.mutable);
    vec![
        format!("{id:<71}"),
        format!("{:<11}", !record.in_use),
        mark(size(record.size), record.shared),
        String::new(),
    ]
}

/// One record with all that is known, a line for each fact.
pub(crate) fn verbose(record: &UsageRecord) -> String {
    let mut rows = Vec::new();
    let mut add = |key: &str, value: String| rows.push(vec![format!("{key}:"), value]);
    add("ID", record.id.clone());
    if !record.parents.is_empty() {
        add("Parents", record.parents.join(";"));
    }
    add("Created at", time(record.created));
    add("Mutable", record.mutable.to_string());
    add("Reclaimable", (!record.in_use).to_string());
    add("Shared", record.shared.to_string());
    add("Size", size(record.size));
    if !record.description.is_empty() {
        add("Description", record.description.clone());
    }
    add("Usage count", record.usage_count.to_string());
    if let Some(used) = record.last_used {
        add("Last used", time(used));
    }
    add("Type", record.record_type.as_str().to_owned());
    align(&rows) + "\n"
}

fn time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "unknown".into(), |time| time.to_string())
}
