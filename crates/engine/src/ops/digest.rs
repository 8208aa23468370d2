//! Cache-map digests of ops: which parts of an op decide its cache key, in
//! the JSON form that BuildKit hashes (solver/llbsolver/ops).

use base64::Engine as _;
use kiln_llb::digest_of;
use kiln_protocol::pb;
use oci_spec::image::Digest;

use super::go_json::{Object, array, quote};

/// Digest of an exec op on `platform`.
pub(crate) fn exec(op: &pb::ExecOp, platform: &pb::Platform) -> Digest {
    let body = Object::new()
        .string("Type", "buildkit.exec.v0")
        .raw("Exec", &exec_json(op).build())
        .raw("OS", &quote(&platform.os))
        .raw("Arch", &quote(&platform.architecture))
        .string("Variant", &platform.variant)
        .string("OSVersion", &platform.os_version)
        .strings("OSFeatures", &platform.os_features);
    digest_of(body.build().as_bytes())
}

fn exec_json(op: &pb::ExecOp) -> Object {
    let mounts = if is_plain_run(&op.mounts) {
        &[]
    } else {
        op.mounts.as_slice()
    };
    Object::new()
        .object("meta", op.meta.as_ref().map(meta_json))
        .objects("mounts", mounts.iter().map(mount_json))
        .number("network", op.network)
        .number("security", op.security)
        .objects(
            "secretenv",
            op.secretenv.iter().map(|env| {
                Object::new()
                    .string("ID", &env.id)
                    .string("name", &env.name)
                    .boolean("optional", env.optional)
            }),
        )
        .objects(
            "cdiDevices",
            op.cdi_devices.iter().map(|device| {
                Object::new()
                    .string("name", &device.name)
                    .boolean("optional", device.optional)
            }),
        )
}

/// Proxies, and the addresses of extra hosts, must not decide a cache key.
fn meta_json(meta: &pb::Meta) -> Object {
    Object::new()
        .strings("args", &meta.args)
        .strings("env", &meta.env)
        .string("cwd", &meta.cwd)
        .string("user", &meta.user)
        .objects(
            "extraHosts",
            meta.extra_hosts
                .iter()
                .map(|host| Object::new().string("Host", &host.host)),
        )
        .string("hostname", &meta.hostname)
        .objects(
            "ulimit",
            meta.ulimit.iter().map(|limit| {
                Object::new()
                    .string("Name", &limit.name)
                    .number("Soft", limit.soft)
                    .number("Hard", limit.hard)
            }),
        )
        .string("cgroupParent", &meta.cgroup_parent)
        .boolean(
            "removeMountStubsRecursive",
            meta.remove_mount_stubs_recursive,
        )
        .array(
            "validExitCodes",
            meta.valid_exit_codes.iter().map(ToString::to_string),
        )
}

/// A lone root mount is left out of the key: early BuildKit versions ignored
/// mounts, and this keeps their keys for plain `RUN` steps.
fn is_plain_run(mounts: &[pb::Mount]) -> bool {
    let [mount] = mounts else { return false };
    mount.dest == "/"
        && !mount.readonly
        && mount.mount_type == pb::MountType::Bind as i32
        && mount.cache_opt.is_none()
        && mount.ssh_opt.is_none()
        && mount.secret_opt.is_none()
        && mount.result_id.is_empty()
}

/// The selector is left out: it is part of the dependency's key.
fn mount_json(mount: &pb::Mount) -> Object {
    Object::new()
        .number("input", mount.input)
        .string("dest", &mount.dest)
        .number("output", mount.output)
        .boolean("readonly", mount.readonly)
        .number("mountType", mount.mount_type)
        .object(
            "TmpfsOpt",
            mount
                .tmpfs_opt
                .as_ref()
                .map(|opt| Object::new().number("size", opt.size)),
        )
        .object(
            "cacheOpt",
            mount
                .cache_opt
                .as_ref()
                .map(|opt| cache_opt_json(mount, opt)),
        )
        .object(
            "secretOpt",
            mount.secret_opt.as_ref().map(|opt| {
                Object::new()
                    .string("ID", &opt.id)
                    .number("uid", opt.uid)
                    .number("gid", opt.gid)
                    .number("mode", opt.mode)
                    .boolean("optional", opt.optional)
            }),
        )
        .object(
            "SSHOpt",
            mount.ssh_opt.as_ref().map(|opt| {
                Object::new()
                    .string("ID", &opt.id)
                    .number("uid", opt.uid)
                    .number("gid", opt.gid)
                    .number("mode", opt.mode)
                    .boolean("optional", opt.optional)
            }),
        )
        .string("resultID", &mount.result_id)
        .number("contentCache", mount.content_cache)
}

/// A cache mount's id and sharing do not change what a step computes, but the
/// id that the Dockerfile frontend gives by default (the mount's path, with
/// or without a namespace before it) has always been in the key and stays.
fn cache_opt_json(mount: &pb::Mount, opt: &pb::CacheOpt) -> Object {
    match keyed_cache_id(mount, opt) {
        Some(id) => Object::new().string("ID", id),
        None => Object::new(),
    }
}

/// The id of a cache mount, if the key covers it.
pub(crate) fn keyed_cache_id<'a>(mount: &pb::Mount, opt: &'a pb::CacheOpt) -> Option<&'a str> {
    let default_id = opt.id == mount.dest
        || opt
            .id
            .split_once('/')
            .is_some_and(|(_, path)| path == mount.dest);
    let is_shared = opt.sharing == pb::CacheSharingOpt::Shared as i32;
    (default_id && is_shared).then_some(opt.id.as_str())
}

/// Digest of a file op. `inputs` is the number of its inputs.
pub(crate) fn file(op: &pb::FileOp, inputs: usize) -> Digest {
    let base64 = base64::engine::general_purpose::STANDARD;
    let actions = op
        .actions
        .iter()
        .map(|action| quote(&base64.encode(action_json(action, inputs).build())));
    let body = Object::new()
        .string("Type", "buildkit.file.v0")
        .raw("Actions", &array(&actions.collect::<Vec<_>>()));
    let indexes = if has_default_indexes(&op.actions) {
        &[]
    } else {
        op.actions.as_slice()
    };
    let body = body.array(
        "indexes",
        indexes.iter().map(|action| {
            format!(
                "[{},{},{}]",
                action.input, action.secondary_input, action.output
            )
        }),
    );
    digest_of(body.build().as_bytes())
}

fn action_json(action: &pb::FileAction, inputs: usize) -> Object {
    use pb::file_action::Action;
    match &action.action {
        Some(Action::Copy(copy)) => copy_json(copy, action.secondary_input, inputs),
        Some(Action::Mkfile(file)) => Object::new()
            .string("path", &file.path)
            .number("mode", file.mode)
            .string(
                "data",
                &base64::engine::general_purpose::STANDARD.encode(&file.data),
            )
            .object("owner", file.owner.as_ref().map(owner_json))
            .number("timestamp", file.timestamp),
        Some(Action::Mkdir(dir)) => Object::new()
            .string("path", &dir.path)
            .number("mode", dir.mode)
            .boolean("makeParents", dir.make_parents)
            .object("owner", dir.owner.as_ref().map(owner_json))
            .number("timestamp", dir.timestamp),
        Some(Action::Rm(rm)) => Object::new()
            .string("path", &rm.path)
            .boolean("allowNotFound", rm.allow_not_found)
            .boolean("allowWildcard", rm.allow_wildcard),
        Some(Action::Symlink(link)) => Object::new()
            .string("oldpath", &link.oldpath)
            .string("newpath", &link.newpath)
            .object("owner", link.owner.as_ref().map(owner_json))
            .number("timestamp", link.timestamp),
        None => Object::new(),
    }
}

/// The source path is part of the dependency's key, so only its last element
/// (which names the copied file) is left here.
fn copy_json(copy: &pb::FileActionCopy, secondary_input: i64, inputs: usize) -> Object {
    let from_input = usize::try_from(secondary_input).is_ok_and(|index| index < inputs);
    let src = if from_input {
        base_name(&copy.src)
    } else {
        copy.src.clone()
    };
    Object::new()
        .string("src", &src)
        .string("dest", &copy.dest)
        .object("owner", copy.owner.as_ref().map(owner_json))
        .number("mode", copy.mode)
        .boolean("followSymlink", copy.follow_symlink)
        .boolean("dirCopyContents", copy.dir_copy_contents)
        .boolean(
            "attemptUnpackDockerCompatibility",
            copy.attempt_unpack_docker_compatibility,
        )
        .boolean("createDestPath", copy.create_dest_path)
        .boolean("allowWildcard", copy.allow_wildcard)
        .boolean("allowEmptyWildcard", copy.allow_empty_wildcard)
        .number("timestamp", copy.timestamp)
        .strings("include_patterns", &copy.include_patterns)
        .strings("exclude_patterns", &copy.exclude_patterns)
        .boolean(
            "alwaysReplaceExistingDestPaths",
            copy.always_replace_existing_dest_paths,
        )
        .string("modeStr", &copy.mode_str)
        .strings("required_paths", &copy.required_paths)
}

/// The last element of a path as Go's `path.Base` sees it.
fn base_name(path: &str) -> String {
    if path.is_empty() {
        return ".".into();
    }
    match path.trim_end_matches('/').rsplit('/').next() {
        Some("") | None => "/".into(),
        Some(name) => name.into(),
    }
}

fn owner_json(owner: &pb::ChownOpt) -> Object {
    Object::new()
        .object("user", owner.user.as_ref().map(user_json))
        .object("group", owner.group.as_ref().map(user_json))
}

fn user_json(user: &pb::UserOpt) -> Object {
    let inner = match &user.user {
        Some(pb::user_opt::User::ByName(named)) => Object::new().object(
            "byName",
            Some(
                Object::new()
                    .string("name", &named.name)
                    .number("input", named.input),
            ),
        ),
        Some(pb::user_opt::User::ById(id)) => Object::new().number("byId", *id),
        None => Object::new(),
    };
    Object::new().raw("User", &inner.build())
}

/// Indexes were not in the key at first; the commonest pattern (each action
/// on top of the one before, sources from input 1, one output) keeps the key
/// it had then.
fn has_default_indexes(actions: &[pb::FileAction]) -> bool {
    let count = actions.len();
    if count == 0 {
        return false;
    }
    actions.iter().enumerate().all(|(i, action)| {
        let input = if i == 0 { 0 } else { (count + i - 1) as i64 };
        let output = if i == count - 1 { 0 } else { -1 };
        action.input == input && matches!(action.secondary_input, -1 | 1) && action.output == output
    })
}

/// Digest of a merge op.
pub(crate) fn merge(op: &pb::MergeOp) -> Digest {
    let inputs = op
        .inputs
        .iter()
        .map(|input| Object::new().number("input", input.input));
    typed(
        "buildkit.merge.v0",
        "Merge",
        Object::new().objects("inputs", inputs),
    )
}

/// Digest of a diff op.
pub(crate) fn diff(op: &pb::DiffOp) -> Digest {
    let lower = op
        .lower
        .as_ref()
        .map(|lower| Object::new().number("input", lower.input));
    let upper = op
        .upper
        .as_ref()
        .map(|upper| Object::new().number("input", upper.input));
    let body = Object::new().object("lower", lower).object("upper", upper);
    typed("buildkit.diff.v0", "Diff", body)
}

/// Digest of a passthrough op.
pub(crate) fn passthrough(op: &pb::PassthroughOp) -> Digest {
    let body = Object::new()
        .string("id", &op.id)
        .array("outputs", op.outputs.iter().map(ToString::to_string));
    typed("buildkit.passthrough.v0", "Passthrough", body)
}

/// Of a build op without a definition of its own.
pub(crate) fn build(op: &pb::BuildOp) -> Digest {
    let map = |entries: Vec<(&String, String)>| {
        let object = entries.into_iter();
        object.fold(Object::new(), |object, (key, value)| {
            object.raw(key, &value)
        })
    };
    let inputs = op.inputs.iter().map(|(name, input)| {
        let input = Object::new().number("input", input.input);
        (name, input.build())
    });
    let attrs = op.attrs.iter().map(|(name, value)| (name, quote(value)));
    let (inputs, attrs) = (inputs.collect::<Vec<_>>(), attrs.collect::<Vec<_>>());
    let present = |entries: Vec<_>| (!entries.is_empty()).then(|| map(entries));
    let body = Object::new()
        .number("builder", op.builder)
        .object("inputs", present(inputs))
        .object("attrs", present(attrs));
    typed("buildkit.build.v0", "Exec", body)
}

fn typed(kind: &str, field: &str, body: Object) -> Digest {
    let json = Object::new()
        .string("Type", kind)
        .raw(field, &body.build())
        .build();
    digest_of(json.as_bytes())
}
