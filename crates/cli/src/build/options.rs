//! `--opt`: options for the frontend.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::fields;

const BUILD_ARG: &str = "build-arg:";
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Reads `--opt` values. `SOURCE_DATE_EPOCH` is taken over from the
/// environment, and so is a build argument that is named without a value.
pub(super) fn parse(values: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    parse_with(values, &|name| std::env::var(name).ok())
}

fn parse_with(
    values: &[String],
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut options = BTreeMap::new();
    if let Some(epoch) = variable(EPOCH).filter(|epoch| !epoch.is_empty()) {
        options.insert(format!("{BUILD_ARG}{EPOCH}"), epoch);
    }
    let resolved = values
        .iter()
        .filter_map(|value| match value.strip_prefix(BUILD_ARG) {
            Some(name) if !name.is_empty() && !name.contains('=') => {
                variable(name).map(|found| format!("{value}={found}"))
            }
            _ => Some(value.clone()),
        });
    let resolved = resolved.collect::<Vec<_>>();
    let given =
        fields::map(&resolved).map_err(|error| Failure::usage(format!("invalid opt: {error}")))?;
    options.extend(given);
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_args_come_from_the_environment() {
        let variable = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "SOURCE_DATE_EPOCH" => Some("5".to_owned()),
            _ => None,
        };
        let values =
            ["target=x", "build-arg:A", "build-arg:B", "build-arg:C=c=d"].map(str::to_owned);
        let options = parse_with(&values, &variable).unwrap();
        let options = options
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>();
        assert_eq!(
            options,
            [
                "build-arg:A=1",
                "build-arg:C=c=d",
                "build-arg:SOURCE_DATE_EPOCH=5",
                "target=x"
            ]
        );
        assert!(parse_with(&["nothing".to_owned()], &variable).is_err());
    }
}
