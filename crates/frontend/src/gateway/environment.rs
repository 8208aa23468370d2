//! What the engine says in the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

use oci_spec::image::Platform;
use serde::Deserialize;

use super::GatewayError;

/// `BUILDKIT_FRONTEND_OPT_<n>=key=value`.
const OPTION: &str = "BUILDKIT_FRONTEND_OPT_";
const SESSION: &str = "BUILDKIT_SESSION_ID";
const WORKERS: &str = "BUILDKIT_WORKERS";

/// What the frontend is to do.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) options: BTreeMap<String, String>,
    pub(super) session: String,
    /// Those of the first worker, which is the one that builds.
    pub(super) platforms: Vec<Platform>,
}

#[derive(Deserialize)]
struct Worker {
    #[serde(alias = "Platforms", default)]
    platforms: Vec<Platform>,
}

impl Environment {
    /// Reads those of the variables that are for frontends.
    pub(super) fn read(
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, GatewayError> {
        let mut environment = Self::default();
        for (name, value) in variables {
            let Ok(name) = name.into_string() else {
                continue;
            };
            let is_ours = name.starts_with(OPTION) || name == SESSION || name == WORKERS;
            if !is_ours {
                continue;
            }
            let value = value.into_string();
            let value = value.map_err(|_| GatewayError::NotText(name.clone()))?;
            environment.take(&name, value)?;
        }
        Ok(environment)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), GatewayError> {
        match name {
            SESSION => self.session = value,
            WORKERS => {
                let workers = serde_json::from_str::<Vec<Worker>>(&value);
                let workers = workers.map_err(GatewayError::Workers)?;
                let first = workers.into_iter().next();
                self.platforms = first.map_or_else(Vec::new, |worker| worker.platforms);
            }
            _ => {
                let (key, value) = value.split_once('=').unwrap_or((&value, ""));
                self.options.insert(key.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, GatewayError> {
        let variables = variables.iter();
        Environment::read(variables.map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn options_are_numbered() {
        let environment = read(&[
            ("PATH", "/bin"),
            ("BUILDKIT_FRONTEND_OPT_0", "build-arg:A=b=c"),
            ("BUILDKIT_FRONTEND_OPT_1", "no-cache="),
            ("BUILDKIT_SESSION_ID", "s"),
            (
                "BUILDKIT_WORKERS",
                r#"[{"ID":"w","Platforms":[{"architecture":"arm64","os":"linux"}]},{"ID":"v"}]"#,
            ),
        ]);
        let environment = environment.unwrap_or_default();
        assert_eq!(environment.options["build-arg:A"], "b=c");
        assert_eq!(environment.options["no-cache"], "");
        assert_eq!(environment.options.len(), 2);
        assert_eq!(environment.session, "s");
        assert_eq!(environment.platforms.len(), 1);
        assert!(read(&[("BUILDKIT_WORKERS", "{")]).is_err());
    }
}
