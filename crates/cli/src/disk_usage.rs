//! `buildctl du`: what the store holds.

use kiln_client::UsageRecord;
use kiln_engine::UsageOptions;

use crate::arguments::UsageArguments;
use crate::bytes_text::size;
use crate::context::{Context, Opened, print, print_filled, template};
use crate::failure::Failure;
use crate::root;
use crate::table::align;
use crate::template::Value;
use crate::usage_table::{from_engine, header, row, value, verbose};

pub(crate) fn run(context: &Context, usage: &UsageArguments) -> Result<(), Failure> {
    let template = template(usage.format.as_deref())?;
    let records = root::block_on(records(context, &usage.filter))?;
    if let Some(template) = template {
        let records = match records.is_empty() {
            true => Value::Nil,
            false => Value::List(records.iter().map(value).collect()),
        };
        return print_filled(&template, &records);
    }
    let mut text = match usage.verbose {
        true => records.iter().map(verbose).collect(),
        false => {
            let rows = std::iter::once(header()).chain(records.iter().map(row));
            align(&rows.collect::<Vec<_>>())
        }
    };
    if usage.filter.is_empty() {
        text.push_str(&summary(&records));
    }
    print(&text)
}

async fn records(context: &Context, filters: &[String]) -> Result<Vec<UsageRecord>, Failure> {
    match context.open().await? {
        Opened::Daemon(client) => Ok(client.disk_usage(filters).await?),
        Opened::Embedded(engine) => {
            let options = UsageOptions {
                filters: filters.to_vec(),
                ..UsageOptions::default()
            };
            let records = engine.disk_usage(options).await?;
            Ok(records.into_iter().map(from_engine).collect())
        }
    }
}

fn summary(records: &[UsageRecord]) -> String {
    let sum = |wanted: &dyn Fn(&UsageRecord) -> bool| {
        let wanted = records.iter().filter(|record| wanted(record));
        wanted.map(|record| record.size.max(0)).sum::<i64>()
    };
    let total = sum(&|_| true);
    let shared = sum(&|record| record.shared);
    let mut rows = Vec::new();
    if shared > 0 {
        rows.push(vec!["Shared:".into(), size(shared)]);
        rows.push(vec!["Private:".into(), size(total - shared)]);
    }
    let reclaimable = sum(&|record| !record.in_use);
    rows.push(vec!["Reclaimable:".into(), size(reclaimable)]);
    rows.push(vec!["Total:".into(), size(total)]);
    align(&rows)
}
