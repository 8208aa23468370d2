//! Capability names: what an op asks of the server that runs it.

use std::collections::BTreeSet;

macro_rules! capabilities {
    ($($name:ident = $id:literal,)*) => {
        $(#[doc = concat!("`", $id, "`")] pub const $name: &str = $id;)*
        /// Every capability this build knows.
        pub const ALL: &[&str] = &[$($id),*];
    };
}

capabilities! {
    SOURCE_IMAGE = "source.image",
    SOURCE_IMAGE_RESOLVE_MODE = "source.image.resolvemode",
    SOURCE_IMAGE_LAYER_LIMIT = "source.image.layerlimit",
    SOURCE_IMAGE_CHECKSUM = "source.image.checksum",
    SOURCE_LOCAL = "source.local",
    SOURCE_LOCAL_UNIQUE = "source.local.unique",
    SOURCE_LOCAL_SESSION_ID = "source.local.sessionid",
    SOURCE_LOCAL_INCLUDE_PATTERNS = "source.local.includepatterns",
    SOURCE_LOCAL_FOLLOW_PATHS = "source.local.followpaths",
    SOURCE_LOCAL_EXCLUDE_PATTERNS = "source.local.excludepatterns",
    SOURCE_LOCAL_SHARED_KEY_HINT = "source.local.sharedkeyhint",
    SOURCE_LOCAL_DIFFER = "source.local.differ",
    SOURCE_METADATA_TRANSFER = "source.local.metadatatransfer",
    SOURCE_GIT = "source.git",
    SOURCE_GIT_KEEP_DIR = "source.git.keepgitdir",
    SOURCE_GIT_FULL_URL = "source.git.fullurl",
    SOURCE_GIT_HTTP_AUTH = "source.git.httpauth",
    SOURCE_GIT_KNOWN_SSH_HOSTS = "source.git.knownsshhosts",
    SOURCE_GIT_MOUNT_SSH_SOCK = "source.git.mountsshsock",
    SOURCE_GIT_SUBDIR = "source.git.subdir",
    SOURCE_GIT_CHECKSUM = "source.git.checksum",
    SOURCE_GIT_SKIP_SUBMODULES = "source.git.skipsubmodules",
    SOURCE_GIT_SIGNATURE_VERIFY = "source.git.signatureverify",
    SOURCE_GIT_MTIME = "source.git.mtime",
    SOURCE_GIT_FETCH_BY_COMMIT = "source.git.fetchbycommit",
    SOURCE_GIT_BUNDLE = "source.git.bundle",
    SOURCE_GIT_CHECKOUT_BUNDLE = "source.git.checkoutbundle",
    SOURCE_HTTP = "source.http",
    SOURCE_HTTP_AUTH = "source.http.auth",
    SOURCE_HTTP_CHECKSUM = "source.http.checksum",
    SOURCE_HTTP_PERM = "source.http.perm",
    // The misspelling is the real name: clients and servers have long agreed on it.
    SOURCE_HTTP_UID_GID = "soruce.http.uidgid",
    SOURCE_HTTP_HEADER = "source.http.header",
    SOURCE_HTTP_SIGNATURE_VERIFY = "source.http.signatureverify",
    SOURCE_IMAGE_BLOB = "source.imageblob",
    SOURCE_OCI_LAYOUT = "source.ocilayout",
    BUILD_OP_LLB_FILE_NAME = "source.buildop.llbfilename",
    EXEC_META_BASE = "exec.meta.base",
    EXEC_META_CGROUP_PARENT = "exec.meta.cgroup.parent",
    EXEC_META_NETWORK = "exec.meta.network",
    EXEC_META_NETWORK_PROXY = "exec.meta.network.proxy",
    EXEC_META_PROXY = "exec.meta.proxyenv",
    EXEC_META_SECURITY = "exec.meta.security",
    EXEC_META_SECURITY_DEVICES = "exec.meta.security.devices.v1",
    EXEC_META_SETS_DEFAULT_PATH = "exec.meta.setsdefaultpath",
    EXEC_META_ULIMIT = "exec.meta.ulimit",
    EXEC_META_CDI = "exec.meta.cdi",
    EXEC_META_REMOVE_MOUNT_STUBS_RECURSIVE = "exec.meta.removemountstubs.recursive",
    EXEC_META_LINUX_RESOURCES = "exec.meta.linux.resources",
    EXEC_MOUNT_BIND = "exec.mount.bind",
    EXEC_MOUNT_BIND_READ_WRITE_NO_OUTPUT = "exec.mount.bind.readwrite-nooutput",
    EXEC_MOUNT_CACHE = "exec.mount.cache",
    EXEC_MOUNT_CACHE_SHARING = "exec.mount.cache.sharing",
    EXEC_MOUNT_SELECTOR = "exec.mount.selector",
    EXEC_MOUNT_TMPFS = "exec.mount.tmpfs",
    EXEC_MOUNT_TMPFS_SIZE = "exec.mount.tmpfs.size",
    EXEC_MOUNT_SECRET = "exec.mount.secret",
    EXEC_MOUNT_SSH = "exec.mount.ssh",
    EXEC_MOUNT_CONTENT_CACHE = "exec.mount.cache.content",
    EXEC_CGROUPS_MOUNTED = "exec.cgroup",
    EXEC_SECRET_ENV = "exec.secretenv",
    EXEC_VALID_EXIT_CODE = "exec.validexitcode",
    FILE_BASE = "file.base",
    FILE_RM_WILDCARD = "file.rm.wildcard",
    FILE_COPY_INCLUDE_EXCLUDE_PATTERNS = "file.copy.includeexcludepatterns",
    FILE_COPY_REQUIRED_PATHS = "file.copy.requiredpaths",
    FILE_RM_NO_FOLLOW_SYMLINK = "file.rm.nofollowsymlink",
    FILE_COPY_ALWAYS_REPLACE = "file.copy.alwaysreplaceexistingdestpaths",
    FILE_COPY_MODE_STRING = "file.copy.modestring",
    FILE_SYMLINK_CREATE = "file.symlink.create",
    CONSTRAINTS = "constraints",
    PLATFORM = "platform",
    META_IGNORE_CACHE = "meta.ignorecache",
    META_DESCRIPTION = "meta.description",
    META_EXPORT_CACHE = "meta.exportcache",
    REMOTE_CACHE_GHA = "cache.gha",
    REMOTE_CACHE_S3 = "cache.s3",
    REMOTE_CACHE_AZBLOB = "cache.azblob",
    MERGE_OP = "mergeop",
    DIFF_OP = "diffop",
    PASSTHROUGH_OP = "passthroughop",
    ANNOTATIONS = "exporter.image.annotations",
    ATTESTATIONS = "exporter.image.attestations",
    SOURCE_DATE_EPOCH = "exporter.sourcedateepoch",
    MULTIPLE_EXPORTERS = "exporter.multiple",
    SESSION_EXPORTER = "exporter.session",
    SOURCE_POLICY = "source.policy",
    SOURCE_POLICY_SESSION = "source.policy.session",
    GC_FREE_SPACE_FILTER = "gc.freespacefilter",
    HISTORY_FILTERS = "history.filter",
}

/// The capabilities that a server has said it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps(BTreeSet<String>);

impl Caps {
    /// What this build's own engine has.
    pub fn all() -> Self {
        ALL.iter().copied().collect()
    }

    /// Whether the server has `id`.
    pub fn supports(&self, id: &str) -> bool {
        self.0.contains(id)
    }
}

impl<'a> FromIterator<&'a str> for Caps {
    fn from_iter<I: IntoIterator<Item = &'a str>>(ids: I) -> Self {
        Self(ids.into_iter().map(String::from).collect())
    }
}
