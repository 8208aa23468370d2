//! Which records a listener wants: containerd's filters on `ref`, `status` and
//! `repository`, and comparisons of `startedAt`, `completedAt` and `duration`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_llb::git_url::GitUrl;
use kiln_protocol::control::BuildHistoryRecord;
use kiln_session::progress::Timestamp;
use kiln_store::filter::Filters;

use super::HistoryError;

/// Several filters, of which one must match; none at all match everything.
pub(super) struct RecordFilter(Vec<AllOf>);

/// One filter: comma-separated conditions that must all hold.
struct AllOf {
    comparisons: Vec<Comparison>,
    fields: Filters,
}

struct Comparison {
    subject: Subject,
    operator: Operator,
    /// Seconds since the epoch, or nanoseconds of a duration.
    value: i128,
}

#[derive(Clone, Copy)]
enum Subject {
    Started,
    Completed,
    Duration,
}

#[derive(Clone, Copy)]
enum Operator {
    AtLeast,
    AtMost,
    More,
    Less,
}

/// In the order in which they are looked for.
const OPERATORS: [(&str, Operator); 4] = [
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    (">", Operator::More),
    ("<", Operator::Less),
];

impl RecordFilter {
    pub(super) fn parse(filters: &[String], now: SystemTime) -> Result<Self, HistoryError> {
        filters
            .iter()
            .map(|filter| AllOf::parse(filter, now))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) fn matches(&self, record: &BuildHistoryRecord) -> bool {
        self.0.is_empty() || self.0.iter().any(|all| all.matches(record))
    }
}

impl AllOf {
    fn parse(filter: &str, now: SystemTime) -> Result<Self, HistoryError> {
        let bad = |reason: String| HistoryError::Filter {
            filter: filter.to_owned(),
            reason,
        };
        let mut comparisons = Vec::new();
        let mut others = Vec::new();
        for condition in conditions(filter).map_err(bad)? {
            match Comparison::parse(&condition, now).map_err(bad)? {
                Some(comparison) => comparisons.push(comparison),
                None => others.push(condition),
            }
        }
        let fields = Filters::parse(&[others.join(",")]);
        Ok(Self {
            comparisons,
            fields: fields.map_err(|error| bad(error.to_string()))?,
        })
    }

    fn matches(&self, record: &BuildHistoryRecord) -> bool {
        self.comparisons.iter().all(|it| it.matches(record))
            && self.fields.matches(|name| field(record, name))
    }
}

/// The fields of a line of comma-separated values.
fn conditions(filter: &str) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(filter.as_bytes());
    let mut conditions = Vec::new();
    for line in reader.records() {
        let line = line.map_err(|error| error.to_string())?;
        conditions.extend(line.iter().map(str::to_owned));
    }
    Ok(conditions)
}

impl Comparison {
    /// `None` is a condition of another kind.
    fn parse(condition: &str, now: SystemTime) -> Result<Option<Self>, String> {
        let found = OPERATORS.iter().find_map(|(sign, operator)| {
            let (name, value) = condition.split_once(sign)?;
            Some((name, *operator, value))
        });
        let Some((name, operator, value)) = found else {
            return Ok(None);
        };
        let (subject, value) = match name {
            "startedAt" => (Subject::Started, moment(value, now)?),
            "completedAt" => (Subject::Completed, moment(value, now)?),
            "duration" => match duration(value) {
                Some(nanoseconds) => (Subject::Duration, nanoseconds),
                None => return Err(format!("invalid duration {value}")),
            },
            _ => return Ok(None),
        };
        Ok(Some(Self {
            subject,
            operator,
            value,
        }))
    }

    fn matches(&self, record: &BuildHistoryRecord) -> bool {
        let nanoseconds = |time: &prost_types::Timestamp| {
            i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
        };
        let started = record.created_at.as_ref().map_or(0, nanoseconds);
        let completed = record.completed_at.as_ref().map(nanoseconds);
        let value = match self.subject {
            Subject::Started => started.div_euclid(1_000_000_000),
            Subject::Completed => completed.map_or(0, |time| time.div_euclid(1_000_000_000)),
            Subject::Duration => completed.map_or(0, |time| time - started),
        };
        match self.operator {
            Operator::AtLeast => value >= self.value,
            Operator::AtMost => value <= self.value,
            Operator::More => value > self.value,
            Operator::Less => value < self.value,
        }
    }
}

/// A time in seconds since the epoch: that long ago, or as RFC 3339 has it.
fn moment(text: &str, now: SystemTime) -> Result<i128, String> {
    if let Some(nanoseconds) = duration(text) {
        let ago = Duration::from_nanos(u64::try_from(nanoseconds.abs()).unwrap_or(u64::MAX));
        let since = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let (since, ago) = (since.cast_signed(), ago.as_nanos().cast_signed());
        let moment = if nanoseconds < 0 {
            since + ago
        } else {
            since - ago
        };
        return Ok(moment.div_euclid(1_000_000_000));
    }
    let time: Timestamp = text.parse().map_err(|_| format!("invalid time {text}"))?;
    Ok(i128::from(time.as_second()))
}

/// Nanoseconds of a duration as Go writes it: `1h30m`, `-1.5s`, `0`.
fn duration(text: &str) -> Option<i128> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if text == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        total += value * nanoseconds_of(&after[..end])?;
        rest = &after[end..];
    }
    (!text.is_empty()).then_some((sign * total) as i128)
}

fn nanoseconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

/// A record's value of a field, if it has one.
fn field(record: &BuildHistoryRecord, name: &str) -> Option<String> {
    match name {
        "ref" => (!record.r#ref.is_empty()).then(|| record.r#ref.clone()),
        "status" => Some(status(record).to_owned()),
        "repository" => repository(record),
        _ => None,
    }
}

fn status(record: &BuildHistoryRecord) -> &'static str {
    match (&record.completed_at, &record.error) {
        (None, _) => "running",
        (Some(_), None) => "completed",
        (Some(_), Some(error)) if error.message.contains("context canceled") => "canceled",
        (Some(_), Some(_)) => "error",
    }
}

fn repository(record: &BuildHistoryRecord) -> Option<String> {
    if let Some(source) = record.frontend_attrs.get("vcs:source") {
        return Some(source.clone());
    }
    let context = record.frontend_attrs.get("context")?;
    GitUrl::parse(context).ok().map(|url| url.remote)
}
