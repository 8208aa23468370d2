//! `buildctl prune`: frees space.

use std::time::Duration;

use futures::TryStreamExt as _;
use kiln_client::{PruneRequest, UsageRecord};
use kiln_engine::PruneOptions;

use crate::arguments::PruneArguments;
use crate::bytes_text::size;
use crate::context::{Context, Opened, print, print_filled, template};
use crate::failure::Failure;
use crate::root;
use crate::table::align;
use crate::template::Template;
use crate::usage_table::{from_engine, header, row, value, verbose};

pub(crate) fn run(context: &Context, prune: &PruneArguments) -> Result<(), Failure> {
    let request = request(prune)?;
    let mut report = Report {
        template: template(prune.format.as_deref())?,
        verbose: prune.verbose,
        count: 0,
        total: 0,
    };
    root::block_on(remove(context, request, &mut report))?;
    report.end()
}

async fn remove(
    context: &Context,
    request: PruneRequest,
    report: &mut Report,
) -> Result<(), Failure> {
    match context.open().await? {
        Opened::Daemon(client) => {
            let mut removed = std::pin::pin!(client.prune(request).await?);
            while let Some(record) = removed.try_next().await? {
                report.add(&record)?;
            }
        }
        Opened::Embedded(engine) => {
            let removed = engine.prune(options(request)).await?;
            for record in removed.into_iter().map(from_engine) {
                report.add(&record)?;
            }
        }
    }
    Ok(())
}

/// Shows what was removed as it is told.
struct Report {
    template: Option<Template>,
    verbose: bool,
    count: usize,
    total: i64,
}

impl Report {
    fn add(&mut self, record: &UsageRecord) -> Result<(), Failure> {
        self.count += 1;
        self.total += record.size;
        if let Some(template) = &self.template {
            return print_filled(template, &value(record));
        }
        match (self.verbose, self.count) {
            (true, _) => print(&verbose(record)),
            (false, 1) => print(&align(&[header(), row(record)])),
            (false, _) => print(&align(&[row(record)])),
        }
    }

    fn end(self) -> Result<(), Failure> {
        match self.template {
            Some(_) => Ok(()),
            None => print(&align(&[vec!["Total:".into(), size(self.total)]])),
        }
    }
}

fn request(prune: &PruneArguments) -> Result<PruneRequest, Failure> {
    let keep = prune.keep_duration.as_deref();
    Ok(PruneRequest {
        filters: prune.filter.clone(),
        all: prune.all,
        keep_duration: keep.map_or(Ok(Duration::ZERO), duration)?,
        reserved_space: megabytes(prune.keep_storage_min),
        max_used_space: megabytes(prune.keep_storage),
        min_free_space: megabytes(prune.free_storage),
    })
}

fn options(request: PruneRequest) -> PruneOptions {
    // Negative sizes make no sense and mean no limit, as zero does.
    let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    PruneOptions {
        filters: request.filters,
        all: request.all,
        keep_duration: request.keep_duration,
        reserved_space: bytes(request.reserved_space),
        max_used_space: bytes(request.max_used_space),
        min_free_space: bytes(request.min_free_space),
    }
}

fn megabytes(megabytes: f64) -> i64 {
    (megabytes * 1e6) as i64
}

/// Durations as Go writes them: `1h30m`, `48h`, `1.5s`, `-1s`. Nothing is newer than a negative
/// one, so it keeps as much as none at all.
fn duration(text: &str) -> Result<Duration, Failure> {
    let bad = || {
        Failure::usage(format!(
            "invalid --keep-duration {text:?}: write it like 48h, 30m or 1h30m"
        ))
    };
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(bad)?;
        let value = rest[..digits].parse::<f64>().map_err(|_| bad())?;
        let after = &rest[digits..];
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        total += value * seconds_of(&after[..unit_end]).ok_or_else(bad)?;
        rest = &after[unit_end..];
    }
    let total = Duration::try_from_secs_f64(total).map_err(|_| bad())?;
    Ok(if is_negative { Duration::ZERO } else { total })
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        let check = |text: &str, seconds: f64| {
            assert_eq!(
                duration(text).unwrap(),
                Duration::from_secs_f64(seconds),
                "{text}"
            );
        };
        check("48h", 172_800.0);
        check("1h30m", 5400.0);
        check("1.5s", 1.5);
        check("100ms", 0.1);
        check("+1s", 1.0);
        check("-1h30m", 0.0);
        check("0", 0.0);
        for bad in ["", "-", "5", "h", "1d", "1h-", "--1h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
