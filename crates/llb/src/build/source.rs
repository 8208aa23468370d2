//! Bringing files from outside: images, OCI layouts, client directories, URLs.

use super::constraints::Constraints;
use super::node::{Node, NodeKind};
use super::state::State;
use crate::attr;
use crate::caps;
use crate::json::to_go_json;
use crate::reference;
use std::collections::BTreeMap;

/// How an image's reference is resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResolveMode {
    /// As the server likes.
    #[default]
    Default,
    /// Always ask the registry.
    ForcePull,
    /// Prefer what is here.
    PreferLocal,
}

impl ResolveMode {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::ForcePull => "pull",
            Self::PreferLocal => "local",
        }
    }
}

/// Options of an image source.
#[derive(Clone, Debug, Default)]
pub struct ImageOptions {
    /// How the reference is resolved.
    pub resolve_mode: ResolveMode,
    /// What the image counts as in `du`.
    pub record: ImageRecord,
    /// Only this many lowest layers.
    pub layer_limit: Option<u32>,
    /// The digest it must have.
    pub checksum: Option<String>,
    /// Metadata and platform.
    pub constraints: Constraints,
}

/// What the layers of an image count as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageRecord {
    /// Part of what is built.
    #[default]
    Regular,
    /// Something that only a frontend looks into.
    Internal,
    /// A frontend.
    Frontend,
}

/// Options of an OCI layout source.
#[derive(Clone, Debug, Default)]
pub struct OciLayoutOptions {
    /// Session which has the layout.
    pub session: Option<String>,
    /// Its name in the session.
    pub store: Option<String>,
    /// Only this many lowest layers.
    pub layer_limit: Option<u32>,
    /// Metadata and platform.
    pub constraints: Constraints,
}

/// Options of a client directory.
#[derive(Clone, Debug, Default)]
pub struct LocalOptions {
    /// Session which has the directory.
    pub session: Option<String>,
    /// Only these patterns.
    pub include: Vec<String>,
    /// But not these.
    pub exclude: Vec<String>,
    /// Only these paths, and what they link to.
    pub follow: Vec<String>,
    /// Builds with equal hints reuse each other's uploads.
    pub shared_key_hint: String,
    /// How unchanged files are told.
    pub differ: Option<Differ>,
    /// Sends names and attributes but no content.
    pub metadata_only: Option<MetadataOnly>,
    /// Metadata.
    pub constraints: Constraints,
}

/// How a client directory is compared with what the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differ {
    /// Everything is sent; a hint that servers may ignore.
    None,
    /// By size, time and mode; a hint that servers may ignore.
    Metadata,
}

/// A transfer of names and attributes only.
#[derive(Clone, Debug, Default)]
pub struct MetadataOnly {
    /// Patterns whose content is sent all the same.
    pub exceptions: Vec<String>,
}

/// Options of a URL.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// The digest the content must have.
    pub checksum: Option<String>,
    /// Name of the file.
    pub filename: String,
    /// Permission bits; zero for the default.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Secret with the Authorization header.
    pub auth_header_secret: String,
    /// Accept header.
    pub accept: String,
    /// User-Agent header.
    pub user_agent: String,
    /// Metadata.
    pub constraints: Constraints,
}

/// Attributes and the caps that come with them.
struct Attrs {
    attrs: BTreeMap<String, String>,
    constraints: Constraints,
}

impl Attrs {
    fn new(constraints: Constraints) -> Self {
        Self {
            attrs: BTreeMap::new(),
            constraints,
        }
    }

    /// Sets `name` unless `value` is empty, and asks for the caps then.
    fn set(&mut self, name: &str, value: impl Into<String>, caps: &[&str]) {
        let value = value.into();
        if !value.is_empty() {
            self.attrs.insert(name.into(), value);
            caps.iter().for_each(|cap| self.constraints.require(cap));
        }
    }

    fn set_list(&mut self, name: &str, values: &[String], cap: &str) {
        if !values.is_empty() {
            self.set(name, to_go_json(&values), &[cap]);
        }
    }

    fn into_state(mut self, identifier: String, cap: &str) -> State {
        self.constraints.require(cap);
        State::from_source(Node {
            kind: NodeKind::Source {
                identifier,
                attrs: self.attrs,
            },
            constraints: self.constraints,
        })
    }
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map(|it| it.to_string()).unwrap_or_default()
}

impl State {
    /// An image in a registry.
    pub fn image(name: &str, options: ImageOptions) -> Result<Self, reference::ReferenceError> {
        let name = reference::normalize(name)?;
        let mut attrs = Attrs::new(options.constraints);
        match options.resolve_mode {
            ResolveMode::Default => {}
            ResolveMode::PreferLocal => attrs.set(attr::IMAGE_RESOLVE_MODE, "local", &[]),
            ResolveMode::ForcePull => {
                attrs.set(
                    attr::IMAGE_RESOLVE_MODE,
                    "pull",
                    &[caps::SOURCE_IMAGE_RESOLVE_MODE],
                );
            }
        }
        let record = match options.record {
            ImageRecord::Regular => None,
            ImageRecord::Internal => Some("internal"),
            ImageRecord::Frontend => Some("frontend"),
        };
        if let Some(record) = record {
            attrs.set(attr::IMAGE_RECORD_TYPE, record, &[]);
        }
        let limit = number(options.layer_limit);
        attrs.set(
            attr::IMAGE_LAYER_LIMIT,
            limit,
            &[caps::SOURCE_IMAGE_LAYER_LIMIT],
        );
        let checksum = options.checksum.unwrap_or_default();
        attrs.set(
            attr::IMAGE_CHECKSUM,
            checksum,
            &[caps::SOURCE_IMAGE_CHECKSUM],
        );
        Ok(attrs.into_state(format!("docker-image://{name}"), caps::SOURCE_IMAGE))
    }

    /// An image in an OCI layout which the client has.
    pub fn oci_layout(name: &str, options: OciLayoutOptions) -> Self {
        let mut attrs = Attrs::new(options.constraints);
        attrs.set(attr::OCI_SESSION, options.session.unwrap_or_default(), &[]);
        attrs.set(attr::OCI_STORE, options.store.unwrap_or_default(), &[]);
        attrs.set(attr::OCI_LAYER_LIMIT, number(options.layer_limit), &[]);
        attrs.into_state(format!("oci-layout://{name}"), caps::SOURCE_OCI_LAYOUT)
    }

    /// A directory of the client.
    pub fn local(name: &str, options: LocalOptions) -> Self {
        let mut attrs = Attrs::new(options.constraints);
        let session = options.session.unwrap_or_default();
        attrs.set(
            attr::LOCAL_SESSION,
            session,
            &[caps::SOURCE_LOCAL_SESSION_ID],
        );
        attrs.set_list(
            attr::LOCAL_INCLUDE_PATTERNS,
            &options.include,
            caps::SOURCE_LOCAL_INCLUDE_PATTERNS,
        );
        attrs.set_list(
            attr::LOCAL_FOLLOW_PATHS,
            &options.follow,
            caps::SOURCE_LOCAL_FOLLOW_PATHS,
        );
        attrs.set_list(
            attr::LOCAL_EXCLUDE_PATTERNS,
            &options.exclude,
            caps::SOURCE_LOCAL_EXCLUDE_PATTERNS,
        );
        attrs.set(
            attr::LOCAL_SHARED_KEY_HINT,
            options.shared_key_hint,
            &[caps::SOURCE_LOCAL_SHARED_KEY_HINT],
        );
        match options.differ {
            None => {}
            Some(Differ::None) => attrs.set(attr::LOCAL_DIFFER, "none", &[]),
            Some(Differ::Metadata) => attrs.set(attr::LOCAL_DIFFER, "metadata", &[]),
        }
        if let Some(only) = options.metadata_only {
            attrs.set(
                attr::LOCAL_METADATA_TRANSFER,
                "true",
                &[caps::SOURCE_METADATA_TRANSFER],
            );
            attrs.set_list(
                attr::LOCAL_METADATA_TRANSFER_EXCLUDE,
                &only.exceptions,
                caps::SOURCE_METADATA_TRANSFER,
            );
        }
        attrs.into_state(format!("local://{name}"), caps::SOURCE_LOCAL)
    }

    /// The content of a URL, as one file.
    pub fn http(url: &str, options: HttpOptions) -> Self {
        let mut attrs = Attrs::new(options.constraints);
        let checksum = options.checksum.unwrap_or_default();
        attrs.set(attr::HTTP_CHECKSUM, checksum, &[caps::SOURCE_HTTP_CHECKSUM]);
        attrs.set(attr::HTTP_FILENAME, options.filename, &[]);
        let positive = |value: u32| number(Some(value).filter(|it| *it != 0));
        if options.mode != 0 {
            attrs.set(
                attr::HTTP_PERM,
                format!("0{:o}", options.mode),
                &[caps::SOURCE_HTTP_PERM],
            );
        }
        attrs.set(
            attr::HTTP_UID,
            positive(options.uid),
            &[caps::SOURCE_HTTP_UID_GID],
        );
        attrs.set(
            attr::HTTP_GID,
            positive(options.gid),
            &[caps::SOURCE_HTTP_UID_GID],
        );
        attrs.set(
            attr::HTTP_AUTH_HEADER_SECRET,
            options.auth_header_secret,
            &[caps::SOURCE_HTTP_AUTH],
        );
        attrs.set(
            attr::HTTP_HEADER_ACCEPT,
            options.accept,
            &[caps::SOURCE_HTTP_HEADER],
        );
        attrs.set(
            attr::HTTP_HEADER_USER_AGENT,
            options.user_agent,
            &[caps::SOURCE_HTTP_HEADER],
        );
        attrs.into_state(url.into(), caps::SOURCE_HTTP)
    }

    /// A git repository.
    pub fn git(url: &str, options: super::git::GitOptions) -> Self {
        let (identifier, values, constraints) = super::git::describe(url, options);
        let mut attrs = Attrs::new(constraints);
        for (name, value, caps) in values {
            attrs.set(name, value, caps);
        }
        attrs.into_state(identifier, caps::SOURCE_GIT)
    }
}
