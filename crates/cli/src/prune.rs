//! `buildctl prune`: frees space.

use std::time::Duration;

use kiln_engine::PruneOptions;

use crate::arguments::{Arguments, PruneArguments};
use crate::bytes_text::size;
use crate::failure::Failure;
use crate::root;
use crate::table::align;
use crate::usage_table::{header, row, verbose};

pub(crate) fn run(arguments: &Arguments, prune: &PruneArguments) -> Result<(), Failure> {
    let options = options(prune)?;
    let removed = root::block_on(async {
        let engine = root::open_engine(arguments)?;
        Ok(engine.prune(options).await?)
    })?;
    if prune.verbose {
        removed
            .iter()
            .for_each(|record| print!("{}", verbose(record)));
    } else if !removed.is_empty() {
        let rows = std::iter::once(header()).chain(removed.iter().map(row));
        print!("{}", align(&rows.collect::<Vec<_>>()));
    }
    let total = removed.iter().map(|record| record.size).sum();
    print!("{}", align(&[vec!["Total:".into(), size(total)]]));
    Ok(())
}

fn options(prune: &PruneArguments) -> Result<PruneOptions, Failure> {
    let keep = prune.keep_duration.as_deref();
    Ok(PruneOptions {
        filters: prune.filter.clone(),
        all: prune.all,
        keep_duration: keep.map_or(Ok(Duration::ZERO), duration)?,
        reserved_space: megabytes(prune.keep_storage_min),
        max_used_space: megabytes(prune.keep_storage),
        min_free_space: megabytes(prune.free_storage),
    })
}

/// Negative sizes make no sense and mean no limit, as zero does.
fn megabytes(megabytes: f64) -> u64 {
    (megabytes * 1e6) as u64
}

/// Durations as Go writes them: `1h30m`, `48h`, `1.5s`.
fn duration(text: &str) -> Result<Duration, Failure> {
    let bad = || {
        Failure::usage(format!(
            "invalid --keep-duration {text:?}: write it like 48h, 30m or 1h30m"
        ))
    };
    let mut total = 0.0;
    let mut rest = text;
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
    Duration::try_from_secs_f64(total).map_err(|_| bad())
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
        for bad in ["5", "h", "1d", "1h-"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
