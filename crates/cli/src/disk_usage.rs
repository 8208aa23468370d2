//! `buildctl du`: what the store holds.

use kiln_engine::{UsageOptions, UsageRecord};

use crate::arguments::{Arguments, UsageArguments};
use crate::bytes_text::size;
use crate::failure::Failure;
use crate::root;
use crate::table::align;
use crate::usage_table::{header, row, verbose};

pub(crate) fn run(arguments: &Arguments, usage: &UsageArguments) -> Result<(), Failure> {
    let options = UsageOptions {
        filters: usage.filter.clone(),
        ..UsageOptions::default()
    };
    let records = root::block_on(async {
        let engine = root::open_engine(arguments)?;
        Ok(engine.disk_usage(options).await?)
    })?;
    if usage.verbose {
        records
            .iter()
            .for_each(|record| print!("{}", verbose(record)));
    } else {
        let rows = std::iter::once(header()).chain(records.iter().map(row));
        print!("{}", align(&rows.collect::<Vec<_>>()));
    }
    if usage.filter.is_empty() {
        print!("{}", summary(&records));
    }
    Ok(())
}

fn summary(records: &[UsageRecord]) -> String {
    let sum = |wanted: &dyn Fn(&UsageRecord) -> bool| {
        records
            .iter()
            .filter(|record| wanted(record))
            .map(|record| record.size)
            .sum::<u64>()
    };
    let total = sum(&|_| true);
    let shared = sum(&|record| record.shared);
    let mut rows = Vec::new();
    if shared > 0 {
        rows.push(vec!["Shared:".into(), size(shared)]);
        rows.push(vec!["Private:".into(), size(total - shared)]);
    }
    rows.push(vec![
        "Reclaimable:".into(),
        size(sum(&|record| !record.in_use)),
    ]);
    rows.push(vec!["Total:".into(), size(total)]);
    align(&rows)
}
