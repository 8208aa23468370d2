//! What the process finds around it: who runs it, and the variables that say
//! where a user's files belong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Who runs the daemon and with which variables.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Whether files belong where an ordinary user's are.
    pub is_rootless: bool,
    /// User id of sockets unless the configuration names one.
    pub uid: u32,
    /// Group id of sockets unless the configuration names one.
    pub gid: u32,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
}

impl Environment {
    /// That of this process. To be called before a user namespace is entered,
    /// in which everybody is root.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect::<BTreeMap<_, _>>();
        let is_root = rustix::process::geteuid().is_root();
        // Root inside of someone's namespace, such as RootlessKit's, is that someone.
        let is_mapped_root = is_in_user_namespace()
            && variables
                .get("USER")
                .is_some_and(|user| !user.is_empty() && user != "root");
        Self {
            is_rootless: !is_root || is_mapped_root,
            uid: if is_root {
                rustix::process::getuid().as_raw()
            } else {
                0
            },
            gid: if is_root {
                rustix::process::getgid().as_raw()
            } else {
                0
            },
            variables,
        }
    }

    /// A variable that is set to something.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Where the configuration is looked for.
    pub fn config_file(&self) -> PathBuf {
        self.config_directory().join("buildkitd.toml")
    }

    /// Where the files are whose content goes into provenance.
    pub(super) fn provenance_directory(&self) -> PathBuf {
        self.config_directory().join("provenance.d")
    }

    fn config_directory(&self) -> PathBuf {
        let directory = if self.is_rootless {
            self.user_directory("XDG_CONFIG_HOME", ".config")
                .map(|config| config.join("buildkit"))
        } else {
            None
        };
        directory.unwrap_or_else(|| "/etc/buildkit".into())
    }

    /// Where state is kept.
    pub(super) fn root(&self) -> Result<PathBuf, String> {
        if !self.is_rootless {
            return Ok("/var/lib/kiln".into());
        }
        self.user_directory("XDG_DATA_HOME", ".local/share")
            .map(|data| data.join("kiln"))
            .ok_or_else(|| {
                "cannot tell where to keep state: set XDG_DATA_HOME or HOME, or use --root DIR"
                    .into()
            })
    }

    /// Where to listen.
    pub(super) fn address(&self) -> String {
        let runtime = self
            .variable("XDG_RUNTIME_DIR")
            .filter(|_| self.is_rootless);
        let directory = runtime
            .and_then(|list| list.split(':').next())
            .unwrap_or("/run");
        format!("unix://{directory}/buildkit/buildkitd.sock")
    }

    /// The first directory of a variable, or a place in the home directory.
    fn user_directory(&self, variable: &str, in_home: &str) -> Option<PathBuf> {
        let named = self
            .variable(variable)
            .and_then(|list| list.split(':').next());
        match named {
            Some(directory) => Some(directory.into()),
            None => self
                .variable("HOME")
                .map(|home| Path::new(home).join(in_home)),
        }
    }
}

/// Outside of any namespace all ids are mapped to themselves.
fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let words = map.split_whitespace().collect::<Vec<_>>();
    !matches!(words[..], [] | ["0", "0", "4294967295"])
}
