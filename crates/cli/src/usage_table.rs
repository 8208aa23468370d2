//! Prints records of disk usage.

use std::time::SystemTime;

use kiln_client::UsageRecord;
use kiln_session::progress::Timestamp;

use crate::bytes_text::size;
use crate::table::align;
use crate::template::{Value, field, go_time};

/// A record as daemons send it.
pub(crate) fn from_engine(record: kiln_engine::UsageRecord) -> UsageRecord {
    let time = |time: SystemTime| Timestamp::try_from(time).ok();
    UsageRecord {
        id: record.id,
        mutable: record.mutable,
        in_use: record.in_use,
        size: i64::try_from(record.size).unwrap_or(i64::MAX),
        created: time(record.created),
        last_used: record.last_used.and_then(time),
        usage_count: i64::try_from(record.usage_count).unwrap_or(i64::MAX),
        parents: record.parents,
        description: record.description,
        record_type: record.record_type.as_str().to_owned(),
        shared: record.shared,
    }
}

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
    add("Created at", go_time(record.created.unwrap_or_default()));
    add("Mutable", record.mutable.to_string());
    add("Reclaimable", (!record.in_use).to_string());
    add("Shared", record.shared.to_string());
    add("Size", size(record.size));
    if !record.description.is_empty() {
        add("Description", record.description.clone());
    }
    add("Usage count", record.usage_count.to_string());
    if let Some(used) = record.last_used {
        add("Last used", go_time(used));
    }
    if !record.record_type.is_empty() {
        add("Type", record.record_type.clone());
    }
    align(&rows) + "\n"
}

/// One record for templates.
pub(crate) fn value(record: &UsageRecord) -> Value {
    Value::Struct(vec![
        field("ID", "id", record.id.as_str()),
        field("Mutable", "mutable", record.mutable),
        field("InUse", "inUse", record.in_use),
        field("Size", "size", record.size),
        field("CreatedAt", "createdAt", record.created.unwrap_or_default()),
        field("LastUsedAt", "lastUsedAt", record.last_used),
        field("UsageCount", "usageCount", record.usage_count),
        field("Parents", "parents", record.parents.as_slice()),
        field("Description", "description", record.description.as_str()),
        field("RecordType", "recordType", record.record_type.as_str()),
        field("Shared", "shared", record.shared),
    ])
}
