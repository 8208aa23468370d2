//! What the process around the engine knows of stores: defaults of keys, and credentials.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::options::Attributes;

/// Variables that stand for keys.
const KEYS: &[(&str, &str, &str)] = &[
    ("s3", "bucket", "AWS_BUCKET"),
    ("s3", "region", "AWS_REGION"),
    (
        "azblob",
        "account_url",
        "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL",
    ),
    (
        "azblob",
        "account_name",
        "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME",
    ),
    ("azblob", "container", "BUILDKIT_AZURE_STORAGE_CONTAINER"),
    ("azblob", "prefix", "BUILDKIT_AZURE_STORAGE_PREFIX"),
];

/// Variables with credentials, or with the place of some.
const CREDENTIALS: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL_STS",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_TENANT_ID",
    "GITHUB_API_URL",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HOME",
    "IDENTITY_ENDPOINT",
];

/// Variables about stores, looked up by whoever may read the environment.
#[derive(Clone, Default)]
pub struct StoreEnvironment(BTreeMap<&'static str, String>);

impl StoreEnvironment {
    /// Looks up the variables that matter (`AWS_REGION`, `AZURE_CLIENT_ID`, …).
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let names = KEYS.iter().map(|(_, _, name)| *name);
        let names = names.chain(CREDENTIALS.iter().copied());
        let set = names.filter_map(|name| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some((name, value))
        });
        Self(set.collect())
    }

    /// The keys of a cache with those that are missing and that a variable stands for.
    pub fn complete(&self, kind: &str, attributes: &Attributes) -> Attributes {
        let mut completed = attributes.clone();
        let mine = KEYS.iter().filter(|(of, _, _)| *of == kind);
        for (_, key, name) in mine {
            if let (false, Some(value)) = (completed.contains_key(*key), self.get(name)) {
                completed.insert((*key).to_owned(), value.to_owned());
            }
        }
        completed
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }
}

/// Names only: the values may be secrets.
impl std::fmt::Debug for StoreEnvironment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
