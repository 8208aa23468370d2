//! The git source.

use super::constraints::Constraints;
use crate::git_url::{GitUrl, GitUrlError, clean_subdir};
use crate::{attr, caps, path};

/// Options of a git repository.
#[derive(Clone, Debug)]
pub struct GitOptions {
    /// Branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// Directory inside the repository.
    pub subdir: String,
    /// Keeps `.git`.
    pub keep_git_dir: bool,
    /// The commit it must be.
    pub checksum: String,
    /// Leaves submodules out.
    pub skip_submodules: bool,
    /// Modification times: `checkout` or `commit`, empty for the default.
    pub mtime: String,
    /// Trusts `checksum` without asking what the reference is now.
    pub fetch_by_commit: bool,
    /// Secret with a token, when not the usual one.
    pub auth_token_secret: Option<String>,
    /// Secret with an Authorization header, when not the usual one.
    pub auth_header_secret: Option<String>,
    /// Known hosts lines for ssh; empty lets the server look.
    pub known_ssh_hosts: String,
    /// Agent socket for ssh.
    pub ssh_socket: String,
    /// Metadata.
    pub constraints: Constraints,
}

impl Default for GitOptions {
    fn default() -> Self {
        Self {
            reference: String::new(),
            subdir: String::new(),
            keep_git_dir: false,
            checksum: String::new(),
            skip_submodules: false,
            mtime: String::new(),
            fetch_by_commit: false,
            auth_token_secret: None,
            auth_header_secret: None,
            known_ssh_hosts: String::new(),
            ssh_socket: "default".into(),
            constraints: Constraints::default(),
        }
    }
}

type Attributes = Vec<(&'static str, String, &'static [&'static str])>;

/// Identifier, attributes with the caps they need, and constraints of a git source.
pub(crate) fn describe(url: &str, options: GitOptions) -> (String, Attributes, Constraints) {
    let mut url = url.to_string();
    let mut parsed = GitUrl::parse(&url);
    if parsed == Err(GitUrlError::UnknownProtocol) {
        url = format!("https://{url}");
        parsed = GitUrl::parse(&url);
    }
    let identifier = match &parsed {
        Ok(remote) => identifier(remote, &options),
        // The server will say what is wrong with it.
        Err(_) => format!("git://{url}"),
    };
    let remote = parsed.as_ref().map_or(url.clone(), |it| it.remote.clone());
    let auth_caps = |set: &Option<String>| -> &'static [&'static str] {
        if set.is_some() {
            &[caps::SOURCE_GIT_HTTP_AUTH]
        } else {
            &[]
        }
    };
    let yes = |on: bool| {
        if on {
            "true".to_string()
        } else {
            String::new()
        }
    };
    let token_caps = auth_caps(&options.auth_token_secret);
    let header_caps = auth_caps(&options.auth_header_secret);
    let mut attrs: Attributes = vec![
        (
            attr::GIT_KEEP_DIR,
            yes(options.keep_git_dir),
            &[caps::SOURCE_GIT_KEEP_DIR],
        ),
        (attr::GIT_FULL_URL, remote, &[caps::SOURCE_GIT_FULL_URL]),
        (
            attr::GIT_AUTH_TOKEN_SECRET,
            options
                .auth_token_secret
                .unwrap_or_else(|| "GIT_AUTH_TOKEN".into()),
            token_caps,
        ),
        (
            attr::GIT_AUTH_HEADER_SECRET,
            options
                .auth_header_secret
                .unwrap_or_else(|| "GIT_AUTH_HEADER".into()),
            header_caps,
        ),
        (
            attr::GIT_CHECKSUM,
            options.checksum,
            &[caps::SOURCE_GIT_CHECKSUM],
        ),
        (
            attr::GIT_SKIP_SUBMODULES,
            yes(options.skip_submodules),
            &[caps::SOURCE_GIT_SKIP_SUBMODULES],
        ),
        (attr::GIT_MTIME, options.mtime, &[caps::SOURCE_GIT_MTIME]),
        (
            attr::GIT_FETCH_BY_COMMIT,
            yes(options.fetch_by_commit),
            &[caps::SOURCE_GIT_FETCH_BY_COMMIT],
        ),
    ];
    let mut constraints = options.constraints;
    if parsed.is_ok_and(|it| it.scheme == "ssh") {
        constraints.require(caps::SOURCE_GIT_KNOWN_SSH_HOSTS);
        attrs.push((attr::GIT_KNOWN_SSH_HOSTS, options.known_ssh_hosts, &[]));
        attrs.push((
            attr::GIT_MOUNT_SSH_SOCK,
            options.ssh_socket,
            &[caps::SOURCE_GIT_MOUNT_SSH_SOCK],
        ));
    }
    (identifier, attrs, constraints)
}

/// The same repository has one identifier by every protocol.
fn identifier(remote: &GitUrl, options: &GitOptions) -> String {
    let place = format!(
        "git://{}{}",
        remote.host,
        path::join(["/", remote.path.as_str()])
    );
    let subdir = clean_subdir(&options.subdir);
    match (options.reference.is_empty(), subdir.is_empty()) {
        (true, true) => place,
        (false, true) => format!("{place}#{}", options.reference),
        (_, false) => format!("{place}#{}:{}", options.reference, options.subdir),
    }
}
