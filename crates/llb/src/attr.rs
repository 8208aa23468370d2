//! Names of source attributes.

macro_rules! attributes {
    ($($name:ident = $id:literal,)*) => {
        $(#[doc = concat!("`", $id, "`")] pub const $name: &str = $id;)*
    };
}

attributes! {
    GIT_KEEP_DIR = "git.keepgitdir",
    GIT_FULL_URL = "git.fullurl",
    GIT_AUTH_HEADER_SECRET = "git.authheadersecret",
    GIT_AUTH_TOKEN_SECRET = "git.authtokensecret",
    GIT_KNOWN_SSH_HOSTS = "git.knownsshhosts",
    GIT_MOUNT_SSH_SOCK = "git.mountsshsock",
    GIT_CHECKSUM = "git.checksum",
    GIT_SKIP_SUBMODULES = "git.skipsubmodules",
    GIT_MTIME = "git.mtime",
    GIT_FETCH_BY_COMMIT = "git.fetchbycommit",
    GIT_BUNDLE = "git.bundle",
    GIT_CHECKOUT_BUNDLE = "git.checkoutbundle",
    GIT_SIGNATURE_KEYS = "git.sig.pubkey",
    GIT_SIGNATURE_REJECT_EXPIRED = "git.sig.rejectexpired",
    GIT_SIGNATURE_REQUIRE_TAG = "git.sig.requiresignedtag",
    GIT_SIGNATURE_IGNORE_TAG = "git.sig.ignoresignedtag",
    LOCAL_SESSION = "local.session",
    LOCAL_UNIQUE = "local.unique",
    LOCAL_INCLUDE_PATTERNS = "local.includepattern",
    LOCAL_FOLLOW_PATHS = "local.followpaths",
    LOCAL_EXCLUDE_PATTERNS = "local.excludepatterns",
    LOCAL_SHARED_KEY_HINT = "local.sharedkeyhint",
    LOCAL_DIFFER = "local.differ",
    LOCAL_METADATA_TRANSFER = "local.metadatatransfer",
    LOCAL_METADATA_TRANSFER_EXCLUDE = "local.metadatatransferexclude",
    HTTP_CHECKSUM = "http.checksum",
    HTTP_FILENAME = "http.filename",
    HTTP_PERM = "http.perm",
    HTTP_UID = "http.uid",
    HTTP_GID = "http.gid",
    HTTP_AUTH_HEADER_SECRET = "http.authheadersecret",
    HTTP_HEADER_ACCEPT = "http.header.accept",
    HTTP_HEADER_USER_AGENT = "http.header.user-agent",
    HTTP_SIGNATURE_KEYS = "http.sig.pubkey",
    HTTP_SIGNATURE = "http.sig.signature",
    IMAGE_RESOLVE_MODE = "image.resolvemode",
    IMAGE_RECORD_TYPE = "image.recordtype",
    IMAGE_LAYER_LIMIT = "image.layerlimit",
    IMAGE_CHECKSUM = "image.checksum",
    OCI_SESSION = "oci.session",
    OCI_STORE = "oci.store",
    OCI_LAYER_LIMIT = "oci.layerlimit",
}
