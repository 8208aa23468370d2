//! Ops in protobuf's JSON form.

use super::value::Value;
use super::{action, enum_name, map, metadata, object};
use kiln_protocol::pb::{self, op};

pub(super) fn op(op: &pb::Op) -> Value {
    let out = object().list("inputs", &op.inputs, |input| {
        object()
            .text("digest", &input.digest)
            .long("index", input.index)
            .done()
    });
    let out = match &op.op {
        None => out,
        Some(op::Op::Exec(exec)) => out.field("exec", exec_op(exec)),
        Some(op::Op::Source(source)) => out.field("source", source_op(source)),
        Some(op::Op::File(file)) => out.field(
            "file",
            object()
                .list("actions", &file.actions, action::file_action)
                .done(),
        ),
        Some(op::Op::Build(build)) => out.field("build", build_op(build)),
        Some(op::Op::Merge(merge)) => {
            let merge = object().list("inputs", &merge.inputs, |it| input(it.input));
            out.field("merge", merge.done())
        }
        Some(op::Op::Diff(diff)) => {
            let lower = diff.lower.as_ref().map(|it| input(it.input));
            let upper = diff.upper.as_ref().map(|it| input(it.input));
            out.field(
                "diff",
                object()
                    .optional("lower", lower)
                    .optional("upper", upper)
                    .done(),
            )
        }
        Some(op::Op::Passthrough(pass)) => {
            let outputs = |it: &i64| Value::Text(it.to_string());
            let pass = object()
                .text("id", &pass.id)
                .list("outputs", &pass.outputs, outputs);
            out.field("passthrough", pass.done())
        }
    };
    out.optional("platform", op.platform.as_ref().map(platform))
        .optional(
            "constraints",
            op.constraints
                .as_ref()
                .map(|it| object().texts("filter", &it.filter).done()),
        )
        .done()
}

fn input(index: i64) -> Value {
    object().long("input", index).done()
}

fn platform(platform: &pb::Platform) -> Value {
    object()
        .text("Architecture", &platform.architecture)
        .text("OS", &platform.os)
        .text("Variant", &platform.variant)
        .text("OSVersion", &platform.os_version)
        .texts("OSFeatures", &platform.os_features)
        .done()
}

fn source_op(source: &pb::SourceOp) -> Value {
    object()
        .text("identifier", &source.identifier)
        .optional("attrs", texts(&source.attrs))
        .done()
}

fn texts(entries: &std::collections::BTreeMap<String, String>) -> Option<Value> {
    (!entries.is_empty()).then(|| map(entries, |text| text.as_str().into()))
}

fn build_op(build: &pb::BuildOp) -> Value {
    let inputs = (!build.inputs.is_empty()).then(|| map(&build.inputs, |it| input(it.input)));
    object()
        .long("builder", build.builder)
        .optional("inputs", inputs)
        .optional(
            "def",
            build
                .def
                .as_ref()
                .map(|it| metadata::definition(it, metadata::Style::Proto)),
        )
        .optional("attrs", texts(&build.attrs))
        .done()
}

fn exec_op(exec: &pb::ExecOp) -> Value {
    let network =
        (exec.network != 0).then(|| enum_name(exec.network, |it: pb::NetMode| it.as_str_name()));
    let security = (exec.security != 0)
        .then(|| enum_name(exec.security, |it: pb::SecurityMode| it.as_str_name()));
    object()
        .optional("meta", exec.meta.as_ref().map(meta))
        .list("mounts", &exec.mounts, mount)
        .optional("network", network)
        .optional("security", security)
        .list("secretenv", &exec.secretenv, |it| {
            object()
                .text("ID", &it.id)
                .text("name", &it.name)
                .flag("optional", it.optional)
                .done()
        })
        .list("cdiDevices", &exec.cdi_devices, |it| {
            object()
                .text("name", &it.name)
                .flag("optional", it.optional)
                .done()
        })
        .done()
}

fn meta(meta: &pb::Meta) -> Value {
    let proxy = meta.proxy_env.as_ref().map(|it| {
        object()
            .text("httpProxy", &it.http_proxy)
            .text("httpsProxy", &it.https_proxy)
            .text("ftpProxy", &it.ftp_proxy)
            .text("noProxy", &it.no_proxy)
            .text("allProxy", &it.all_proxy)
            .done()
    });
    object()
        .texts("args", &meta.args)
        .texts("env", &meta.env)
        .text("cwd", &meta.cwd)
        .text("user", &meta.user)
        .optional("proxyEnv", proxy)
        .list("extraHosts", &meta.extra_hosts, |it| {
            object().text("Host", &it.host).text("IP", &it.ip).done()
        })
        .text("hostname", &meta.hostname)
        .list("ulimit", &meta.ulimit, |it| {
            object()
                .text("Name", &it.name)
                .long("Soft", it.soft)
                .long("Hard", it.hard)
                .done()
        })
        .text("cgroupParent", &meta.cgroup_parent)
        .flag(
            "removeMountStubsRecursive",
            meta.remove_mount_stubs_recursive,
        )
        .list("validExitCodes", &meta.valid_exit_codes, |it| {
            Value::Number((*it).into())
        })
        .done()
}

fn mount(mount: &pb::Mount) -> Value {
    let kind = (mount.mount_type != 0)
        .then(|| enum_name(mount.mount_type, |it: pb::MountType| it.as_str_name()));
    let content = (mount.content_cache != 0).then(|| {
        enum_name(mount.content_cache, |it: pb::MountContentCache| {
            it.as_str_name()
        })
    });
    let cache = mount.cache_opt.as_ref().map(|it| {
        let sharing = (it.sharing != 0)
            .then(|| enum_name(it.sharing, |it: pb::CacheSharingOpt| it.as_str_name()));
        object()
            .text("ID", &it.id)
            .optional("sharing", sharing)
            .done()
    });
    let tmpfs = mount
        .tmpfs_opt
        .as_ref()
        .map(|it| object().long("size", it.size).done());
    let secret = mount
        .secret_opt
        .as_ref()
        .map(|it| owned(&it.id, [it.uid, it.gid, it.mode], it.optional));
    let ssh = mount
        .ssh_opt
        .as_ref()
        .map(|it| owned(&it.id, [it.uid, it.gid, it.mode], it.optional));
    object()
        .long("input", mount.input)
        .text("selector", &mount.selector)
        .text("dest", &mount.dest)
        .long("output", mount.output)
        .flag("readonly", mount.readonly)
        .optional("mountType", kind)
        .optional("TmpfsOpt", tmpfs)
        .optional("cacheOpt", cache)
        .optional("secretOpt", secret)
        .optional("SSHOpt", ssh)
        .text("resultID", &mount.result_id)
        .optional("contentCache", content)
        .done()
}

fn owned(id: &str, [uid, gid, mode]: [u32; 3], optional: bool) -> Value {
    object()
        .text("ID", id)
        .number("uid", uid.into())
        .number("gid", gid.into())
        .number("mode", mode.into())
        .flag("optional", optional)
        .done()
}
