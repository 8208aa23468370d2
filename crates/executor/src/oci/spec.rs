//! The OCI runtime specification of a step.

use std::path::Path;

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use crate::capability::{self, Capabilities};
use crate::run::rootfs::Rootfs;
use crate::run::step::hostname;
use crate::seccomp::{self, Entry, Rule};
use crate::view::devices;
use crate::view::system::{MASKED_PATHS, READ_ONLY_PATHS, normal};
use crate::view::user::Identity;
use crate::{
    DeviceKind, ExecError, ExecRequest, Mount, Network, RootAccess, Security, Terminal, environment,
};

/// What a step's specification is made of, beside its request.
pub(super) struct Parts<'a> {
    pub(super) rootfs: &'a Rootfs,
    /// Mounts with their targets, in order.
    pub(super) mounts: &'a [(&'a Path, Mount)],
    pub(super) network: &'a Network,
    /// Path from the root of each hierarchy.
    pub(super) cgroup: Option<String>,
    pub(super) unified: bool,
}

/// Content of `config.json`.
pub(super) fn config(request: &ExecRequest, parts: &Parts<'_>) -> Result<Vec<u8>, ExecError> {
    let value = spec(request, parts)?;
    // Through the typed form, so that a mistake of ours is found here and not by a runtime in its own words.
    let typed: Spec = serde_json::from_value(value).map_err(malformed)?;
    serde_json::to_vec(&typed).map_err(malformed)
}

fn malformed(error: serde_json::Error) -> ExecError {
    ExecError::Kernel {
        action: "write the runtime specification".to_owned(),
        cause: error.into(),
        hint: String::new(),
    }
}

fn spec(request: &ExecRequest, parts: &Parts<'_>) -> Result<Value, ExecError> {
    let (masked, read_only): (&[&str], &[&str]) = match request.security {
        Security::Sandbox => (&MASKED_PATHS, &READ_ONLY_PATHS),
        Security::Insecure => (&[], &[]),
    };
    let mut linux = json!({
        "resources": resources(request),
        "namespaces": namespaces(parts),
        "devices": device_nodes(request, &parts.rootfs.identity),
        "maskedPaths": masked,
        "readonlyPaths": read_only,
    });
    if let Some(path) = &parts.cgroup {
        linux["cgroupsPath"] = json!(path);
    }
    if request.security == Security::Sandbox {
        linux["seccomp"] = seccomp_profile();
    }
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process(request, parts)?,
        "root": {
            "path": parts.rootfs.path,
            "readonly": request.root_access == RootAccess::ReadOnly,
        },
        "hostname": hostname(request),
        "mounts": parts.mounts.iter().map(|(target, mount)| json!({
            "destination": target,
            "type": mount.kind,
            "source": mount.source,
            "options": mount.options,
        })).collect::<Vec<_>>(),
        "linux": linux,
    }))
}

fn process(request: &ExecRequest, parts: &Parts<'_>) -> Result<Value, ExecError> {
    let sets = Capabilities::of(request.security)
        .map_err(|error| crate::run::step::kernel("read capabilities", error))?;
    let granted = capability::names(sets.granted);
    let inherited = capability::names(sets.inherited);
    let identity = &parts.rootfs.identity;
    let limit = |limit: &crate::Rlimit| json!({"type": format!("RLIMIT_{}", limit.name.to_ascii_uppercase()), "soft": limit.soft, "hard": limit.hard});
    Ok(json!({
        "terminal": request.terminal == Terminal::Pty,
        "user": {"uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups},
        "args": request.args,
        "env": environment::complete(&request.env, &identity.home),
        "cwd": normal(&request.cwd),
        "capabilities": {
            "bounding": granted, "permitted": granted, "effective": granted,
            "inheritable": inherited, "ambient": inherited,
        },
        "rlimits": request.rlimits.iter().map(limit).collect::<Vec<_>>(),
        // As upstream: setuid programs such as su and sudo are part of builds.
        "noNewPrivileges": false,
    }))
}

fn namespaces(parts: &Parts<'_>) -> Vec<Value> {
    let mut kinds = vec!["pid", "ipc", "uts", "mount"];
    if parts.unified {
        kinds.push("cgroup");
    }
    let own = kinds.into_iter().map(|kind| json!({"type": kind}));
    let network = match parts.network {
        Network::None => Some(json!({"type": "network"})),
        Network::Joined(namespace) => Some(json!({"type": "network", "path": namespace.path()})),
        Network::Host | Network::Sandbox => None,
    };
    own.chain(network).collect()
}

fn resources(request: &ExecRequest) -> Value {
    let mut devices = vec![json!({"allow": false, "access": "rwm"})];
    for rule in devices::rules(request.security, &request.devices) {
        let mut entry = json!({"allow": true, "type": kind(rule.kind), "access": rule.access});
        if let Some(major) = rule.major {
            entry["major"] = json!(major);
        }
        if let Some(minor) = rule.minor {
            entry["minor"] = json!(minor);
        }
        devices.push(entry);
    }
    let wanted = &request.resources;
    let mut memory = json!({});
    let mut cpu = json!({});
    let set = |wanted: bool, object: &mut Value, key: &str, value: Value| {
        if wanted {
            object[key] = value;
        }
    };
    set(
        wanted.memory != 0,
        &mut memory,
        "limit",
        json!(wanted.memory),
    );
    set(
        wanted.memory_swap != 0,
        &mut memory,
        "swap",
        json!(wanted.memory_swap),
    );
    set(
        wanted.cpu_shares != 0,
        &mut cpu,
        "shares",
        json!(wanted.cpu_shares),
    );
    set(
        wanted.cpu_quota != 0,
        &mut cpu,
        "quota",
        json!(wanted.cpu_quota),
    );
    set(
        wanted.cpu_period != 0,
        &mut cpu,
        "period",
        json!(wanted.cpu_period),
    );
    set(
        !wanted.cpuset_cpus.is_empty(),
        &mut cpu,
        "cpus",
        json!(wanted.cpuset_cpus),
    );
    set(
        !wanted.cpuset_mems.is_empty(),
        &mut cpu,
        "mems",
        json!(wanted.cpuset_mems),
    );
    json!({"devices": devices, "memory": memory, "cpu": cpu})
}

fn device_nodes(request: &ExecRequest, user: &Identity) -> Vec<Value> {
    let nodes = devices::extra_nodes(request.security, &request.devices, user);
    let node = |node: &devices::Node| {
        json!({
            "path": node.path, "type": kind(node.kind), "major": node.major, "minor": node.minor,
            "fileMode": node.mode, "uid": node.uid, "gid": node.gid,
        })
    };
    nodes.iter().map(node).collect()
}

fn kind(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Character => "c",
        DeviceKind::Block => "b",
    }
}

fn seccomp_profile() -> Value {
    let entries = seccomp::entries();
    let named = |wanted: &dyn Fn(&Entry) -> bool| -> Vec<&str> {
        entries
            .iter()
            .filter(|entry| wanted(entry))
            .map(|entry| entry.name)
            .collect()
    };
    let mut calls = vec![
        json!({"names": named(&|entry| entry.rule == Rule::Allow), "action": "SCMP_ACT_ALLOW"}),
        json!({"names": named(&|entry| entry.rule == Rule::NoSys), "action": "SCMP_ACT_ERRNO", "errnoRet": 38}),
    ];
    for entry in &entries {
        let Rule::Argument(rule) = entry.rule else {
            continue;
        };
        for (op, value, second) in seccomp::rule_arguments(rule) {
            let argument = json!({"index": 0, "value": value, "valueTwo": second, "op": op});
            calls.push(
                json!({"names": [entry.name], "action": "SCMP_ACT_ALLOW", "args": [argument]}),
            );
        }
    }
    let architectures: Vec<&str> = seccomp::native_architectures()
        .iter()
        .map(|one| one.oci)
        .collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures,
        "syscalls": calls,
    })
}
