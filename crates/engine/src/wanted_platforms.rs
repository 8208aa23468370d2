//! Warnings of results for other platforms than those that were asked for.

use std::collections::BTreeSet;

use kiln_exporter::Shape;
use kiln_llb::platform;
use oci_spec::image::Platform;

use crate::request::Attributes;

/// The platforms that a build is asked for, as they were written.
pub(crate) struct WantedPlatforms(Vec<String>);

impl WantedPlatforms {
    /// Those of the frontend's option `platform`, or else the machine's own.
    pub(crate) fn of(options: &Attributes, own: &Platform) -> Self {
        Self(match options.get("platform") {
            Some(list) => list.split(',').map(str::to_owned).collect(),
            None => vec![platform::format(own)],
        })
    }

    /// What is to be said of the platforms that a result is for, in the words of the field.
    pub(crate) fn compare(&self, results: &[&Platform], shape: Shape) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut wanted = Vec::new();
        for text in &self.0 {
            let one = match platform::parse(text) {
                Ok(one) => platform::normalize(&one),
                Err(error) => {
                    warnings.push(format!(
                        "Invalid platform result requested {text:?}: {error}"
                    ));
                    continue;
                }
            };
            if wanted.contains(&one) {
                warnings.push(format!("Duplicate platform result requested {text:?}"));
            }
            wanted.push(one);
        }
        if warnings.is_empty() {
            warnings.extend(self.mismatch(&wanted, results, shape));
        }
        warnings
    }

    fn mismatch(&self, wanted: &[Platform], results: &[&Platform], shape: Shape) -> Option<String> {
        if let ([one], [result]) = (wanted, results) {
            return (!is_for(result, one)).then(|| {
                let (asked, result) = (&self.0[0], platform::format_all(result));
                format!("Requested platform {asked:?} does not match result platform {result:?}")
            });
        }
        if shape == Shape::Single && wanted.len() > 1 {
            return Some("Multiple platforms requested but result is not multi-platform".into());
        }
        let wanted = formatted(wanted.iter());
        let results = formatted(results.iter().copied());
        (wanted != results).then(|| {
            let list = |names: BTreeSet<String>| Vec::from_iter(names).join(",");
            let (wanted, results) = (list(wanted), list(results));
            format!("Requested platforms {wanted} do not match result platforms {results}")
        })
    }
}

/// Whether a result is for a platform. Who asks for no version of an operating system gets any.
fn is_for(result: &Platform, wanted: &Platform) -> bool {
    let mut result = platform::normalize(result);
    if wanted.os_version().is_none() {
        result.set_os_version(None);
    }
    platform::format_all(&result) == platform::format_all(wanted)
}

fn formatted<'a>(platforms: impl Iterator<Item = &'a Platform>) -> BTreeSet<String> {
    platforms
        .map(|one| platform::format_all(&platform::normalize(one)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &str, results: &str, shape: Shape, expected: &[&str]) {
        let options = Attributes::from([("platform".to_owned(), wanted.to_owned())]);
        let results: Vec<_> = results
            .split(',')
            .map(|it| platform::parse(it).unwrap())
            .collect();
        let results: Vec<_> = results.iter().collect();
        let wanted = WantedPlatforms::of(&options, &platform::host());
        assert_eq!(wanted.compare(&results, shape), expected);
    }

    #[test]
    fn results_are_compared_with_what_was_asked_for() {
        use Shape::{Index, Single};
        let both = "linux/amd64,linux/arm64";
        check("linux/amd64", "linux/amd64", Single, &[]);
        check("linux/arm64", "linux/arm64/v8", Index, &[]);
        check("windows/amd64", "windows(10.0)/amd64", Single, &[]);
        check(both, "linux/arm64,linux/amd64", Index, &[]);
        let other =
            r#"Requested platform "linux/arm64" does not match result platform "linux/amd64""#;
        check("linux/arm64", "linux/amd64", Single, &[other]);
        let single = "Multiple platforms requested but result is not multi-platform";
        check(both, "linux/amd64", Single, &[single]);
        let set = "Requested platforms linux/amd64,linux/arm64 do not match result platforms linux/amd64,linux/s390x";
        check(both, "linux/s390x,linux/amd64", Index, &[set]);
        let twice = r#"Duplicate platform result requested "linux/amd64/v1""#;
        check("linux/amd64,linux/amd64/v1", "linux/amd64", Index, &[twice]);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let options = Attributes::from([("platform".to_owned(), String::new())]);
        let host = platform::host();
        let told = WantedPlatforms::of(&options, &host).compare(&[&host], Shape::Single);
        assert!(
            told[0].starts_with(r#"Invalid platform result requested "": "#),
            "{told:?}"
        );
    }
}
