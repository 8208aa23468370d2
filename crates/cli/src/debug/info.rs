//! `buildctl debug info`: which engine this is.

use kiln_client::Version;

use super::workers::version_value;
use crate::arguments::FormatArguments;
use crate::context::{Context, Opened, print, print_filled, template};
use crate::failure::Failure;
use crate::table::align_with_spaces;
use crate::template::{Value, field};
use crate::{embedded, root};

pub(super) fn run(context: &Context, arguments: &FormatArguments) -> Result<(), Failure> {
    let template = template(arguments.format.as_deref())?;
    let version = root::block_on(version(context))?;
    if let Some(template) = template {
        let version = version_value(&version);
        let info = Value::Struct(vec![field("BuildkitVersion", "buildkitVersion", version)]);
        return print_filled(&template, &info);
    }
    let software = format!(
        "{} {} {}",
        version.package, version.version, version.revision
    );
    let mut rows = vec![vec!["BuildKit:".to_owned(), software]];
    if !version.dockerfile.is_empty() {
        rows.push(vec!["Dockerfile:".into(), version.dockerfile]);
    }
    print(&align_with_spaces(&rows))
}

async fn version(context: &Context) -> Result<Version, Failure> {
    match context.open().await? {
        Opened::Daemon(client) => Ok(client.info().await?),
        Opened::Embedded(_) => Ok(embedded::version()),
    }
}
