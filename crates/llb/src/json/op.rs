//! Ops as JSON.

use super::value::{Style, Value};
use super::{action, map, metadata};
use kiln_protocol::pb::{self, op};

/// An op with its inputs.
pub(super) fn op(op: &pb::Op, style: Style) -> Value {
    let inputs = style.object().list("inputs", &op.inputs, |input| {
        style
            .object()
            .text("digest", &input.digest)
            .long("index", input.index)
            .done()
    });
    let out = match (style, action(op, style)) {
        (Style::Proto, None) => inputs,
        (Style::Proto, Some((name, action))) => inputs.field(name, action),
        (Style::Go, action) => {
            let fields = action.map(|(name, action)| (name.to_owned(), action));
            inputs.field("Op", Value::Object(fields.into_iter().collect()))
        }
    };
    let filter = |it: &pb::WorkerConstraints| style.object().texts("filter", &it.filter).done();
    out.optional(
        "platform",
        op.platform.as_ref().map(|it| platform(it, style)),
    )
    .optional("constraints", op.constraints.as_ref().map(filter))
    .done()
}

/// What an op does, with the name of its kind.
fn action(op: &pb::Op, style: Style) -> Option<(&'static str, Value)> {
    let input = |index| style.object().long("input", index).done();
    Some(match op.op.as_ref()? {
        op::Op::Exec(exec) => ("exec", exec_op(exec, style)),
        op::Op::Source(source) => ("source", source_op(source, style)),
        op::Op::File(file) => {
            let action = |it: &pb::FileAction| action::file_action(it, style);
            let file = style.object().list("actions", &file.actions, action);
            ("file", file.done())
        }
        op::Op::Build(build) => ("build", build_op(build, style)),
        op::Op::Merge(merge) => {
            let inputs = |it: &pb::MergeInput| input(it.input);
            let merge = style.object().list("inputs", &merge.inputs, inputs);
            ("merge", merge.done())
        }
        op::Op::Diff(diff) => {
            let lower = diff.lower.as_ref().map(|it| input(it.input));
            let upper = diff.upper.as_ref().map(|it| input(it.input));
            let diff = style.object().optional("lower", lower);
            ("diff", diff.optional("upper", upper).done())
        }
        op::Op::Passthrough(pass) => {
            let pass = style
                .object()
                .text("id", &pass.id)
                .longs("outputs", &pass.outputs);
            ("passthrough", pass.done())
        }
    })
}

fn platform(platform: &pb::Platform, style: Style) -> Value {
    style
        .object()
        .text("Architecture", &platform.architecture)
        .text("OS", &platform.os)
        .text("Variant", &platform.variant)
        .text("OSVersion", &platform.os_version)
        .texts("OSFeatures", &platform.os_features)
        .done()
}

fn source_op(source: &pb::SourceOp, style: Style) -> Value {
    style
        .object()
        .text("identifier", &source.identifier)
        .optional("attrs", texts(&source.attrs))
        .done()
}

fn texts(entries: &std::collections::BTreeMap<String, String>) -> Option<Value> {
    (!entries.is_empty()).then(|| map(entries, |text| text.as_str().into()))
}

fn build_op(build: &pb::BuildOp, style: Style) -> Value {
    let input = |it: &pb::BuildInput| style.object().long("input", it.input).done();
    let inputs = (!build.inputs.is_empty()).then(|| map(&build.inputs, input));
    style
        .object()
        .long("builder", build.builder)
        .optional("inputs", inputs)
        .optional(
            "def",
            build.def.as_ref().map(|it| metadata::definition(it, style)),
        )
        .optional("attrs", texts(&build.attrs))
        .done()
}

fn exec_op(exec: &pb::ExecOp, style: Style) -> Value {
    style
        .object()
        .optional("meta", exec.meta.as_ref().map(|it| meta(it, style)))
        .list("mounts", &exec.mounts, |it| mount(it, style))
        .choice("network", exec.network, |it: pb::NetMode| it.as_str_name())
        .choice("security", exec.security, |it: pb::SecurityMode| {
            it.as_str_name()
        })
        .list("secretenv", &exec.secretenv, |it| {
            style
                .object()
                .text("ID", &it.id)
                .text("name", &it.name)
                .flag("optional", it.optional)
                .done()
        })
        .list("cdiDevices", &exec.cdi_devices, |it| {
            style
                .object()
                .text("name", &it.name)
                .flag("optional", it.optional)
                .done()
        })
        .done()
}

fn meta(meta: &pb::Meta, style: Style) -> Value {
    let proxy = meta.proxy_env.as_ref().map(|it| {
        style
            .object()
            .text(style.name("httpProxy", "http_proxy"), &it.http_proxy)
            .text(style.name("httpsProxy", "https_proxy"), &it.https_proxy)
            .text(style.name("ftpProxy", "ftp_proxy"), &it.ftp_proxy)
            .text(style.name("noProxy", "no_proxy"), &it.no_proxy)
            .text(style.name("allProxy", "all_proxy"), &it.all_proxy)
            .done()
    });
    style
        .object()
        .texts("args", &meta.args)
        .texts("env", &meta.env)
        .text("cwd", &meta.cwd)
        .text("user", &meta.user)
        .optional(style.name("proxyEnv", "proxy_env"), proxy)
        .list("extraHosts", &meta.extra_hosts, |it| {
            style
                .object()
                .text("Host", &it.host)
                .text("IP", &it.ip)
                .done()
        })
        .text("hostname", &meta.hostname)
        .list("ulimit", &meta.ulimit, |it| {
            style
                .object()
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

fn mount(mount: &pb::Mount, style: Style) -> Value {
    let cache = mount.cache_opt.as_ref().map(|it| {
        style
            .object()
            .text("ID", &it.id)
            .choice("sharing", it.sharing, |it: pb::CacheSharingOpt| {
                it.as_str_name()
            })
            .done()
    });
    let tmpfs = mount
        .tmpfs_opt
        .as_ref()
        .map(|it| style.object().long("size", it.size).done());
    let owned = |id: &str, [uid, gid, mode]: [u32; 3], optional: bool| {
        style
            .object()
            .text("ID", id)
            .number("uid", uid.into())
            .number("gid", gid.into())
            .number("mode", mode.into())
            .flag("optional", optional)
            .done()
    };
    let secret = mount
        .secret_opt
        .as_ref()
        .map(|it| owned(&it.id, [it.uid, it.gid, it.mode], it.optional));
    let ssh = mount
        .ssh_opt
        .as_ref()
        .map(|it| owned(&it.id, [it.uid, it.gid, it.mode], it.optional));
    style
        .object()
        .long("input", mount.input)
        .text("selector", &mount.selector)
        .text("dest", &mount.dest)
        .long("output", mount.output)
        .flag("readonly", mount.readonly)
        .choice("mountType", mount.mount_type, |it: pb::MountType| {
            it.as_str_name()
        })
        .optional("TmpfsOpt", tmpfs)
        .optional("cacheOpt", cache)
        .optional("secretOpt", secret)
        .optional("SSHOpt", ssh)
        .text("resultID", &mount.result_id)
        .choice(
            "contentCache",
            mount.content_cache,
            |it: pb::MountContentCache| it.as_str_name(),
        )
        .done()
}
