//! Encoding a process.

use super::constraints::Constraints;
use super::exec::{Access, ExecMount, ExecNode, FileOwner, MountKind};
use super::marshal::{Context, MarshalError};
use crate::caps;
use kiln_protocol::pb::{self, op};

/// Where programs are looked for when nothing else is said.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An empty input, or an output that is not kept.
const NONE: i64 = -1;

pub(crate) fn exec_op(
    exec: &ExecNode,
    constraints: &mut Constraints,
    context: &Context<'_>,
) -> Result<pb::Op, MarshalError> {
    if exec.args.is_empty() {
        return Err(MarshalError::NoArguments);
    }
    if exec.settings.dir.is_empty() {
        return Err(MarshalError::NoDirectory);
    }
    if constraints.platform.is_none() {
        constraints.platform = exec.settings.platform.clone();
    }
    let meta = meta(exec, constraints, context);
    require_caps(exec, constraints);
    let mut op = constraints.frame(&context.options.constraints);
    let mounts = mounts(exec, &mut op.inputs, context)?;
    let env_secrets = exec.secrets.iter().filter_map(|secret| {
        Some(pb::SecretEnv {
            id: secret.id.clone(),
            name: secret.env.clone()?,
            optional: secret.optional,
        })
    });
    op.op = Some(op::Op::Exec(pb::ExecOp {
        meta: Some(meta),
        mounts,
        network: exec.settings.network.into(),
        security: exec.settings.security.into(),
        secretenv: env_secrets.collect(),
        cdi_devices: exec.devices.clone(),
    }));
    Ok(op)
}

fn meta(exec: &ExecNode, constraints: &mut Constraints, context: &Context<'_>) -> pb::Meta {
    let settings = &exec.settings;
    let mut env = settings.env.clone();
    if !exec.ssh.is_empty() {
        env.set_default("SSH_AUTH_SOCK", &ssh_target(exec, 0));
    }
    match &context.options.caps {
        None => {}
        Some(caps) if caps.supports(caps::EXEC_META_SETS_DEFAULT_PATH) => {
            constraints.require(caps::EXEC_META_SETS_DEFAULT_PATH);
        }
        Some(_) => env.set_default("PATH", DEFAULT_PATH),
    }
    let hosts = settings.extra_hosts.iter();
    pb::Meta {
        args: exec.args.clone(),
        env: env.to_words(),
        cwd: settings.dir.clone(),
        user: settings.user.clone(),
        proxy_env: exec.proxy.clone(),
        extra_hosts: hosts
            .map(|(host, ip)| pb::HostIp {
                host: host.clone(),
                ip: ip.clone(),
            })
            .collect(),
        hostname: settings.hostname.clone(),
        ulimit: settings.ulimits.clone(),
        cgroup_parent: settings.cgroup_parent.clone(),
        remove_mount_stubs_recursive: true,
        valid_exit_codes: exec.valid_exit_codes.clone(),
    }
}

fn require_caps(exec: &ExecNode, constraints: &mut Constraints) {
    let settings = &exec.settings;
    let resources = constraints.metadata.linux_resources.is_some();
    let mut require = |condition: bool, id: &str| {
        if condition {
            constraints.require(id);
        }
    };
    require(true, caps::EXEC_META_BASE);
    require(
        !exec.valid_exit_codes.is_empty(),
        caps::EXEC_VALID_EXIT_CODE,
    );
    require(!settings.ulimits.is_empty(), caps::EXEC_META_ULIMIT);
    require(resources, caps::EXEC_META_LINUX_RESOURCES);
    require(
        settings.network != pb::NetMode::Unset,
        caps::EXEC_META_NETWORK,
    );
    require(
        settings.security != pb::SecurityMode::Sandbox,
        caps::EXEC_META_SECURITY,
    );
    require(exec.proxy.is_some(), caps::EXEC_META_PROXY);
    for mount in &exec.mounts {
        require(!mount.selector.is_empty(), caps::EXEC_MOUNT_SELECTOR);
        match &mount.kind {
            MountKind::Cache { .. } => {
                require(true, caps::EXEC_MOUNT_CACHE);
                require(true, caps::EXEC_MOUNT_CACHE_SHARING);
            }
            MountKind::Tmpfs { size } => {
                require(true, caps::EXEC_MOUNT_TMPFS);
                require(*size > 0, caps::EXEC_MOUNT_TMPFS_SIZE);
            }
            MountKind::Bind => require(mount.source.is_some(), caps::EXEC_MOUNT_BIND),
        }
        let default = mount.content_cache == pb::MountContentCache::Default;
        require(!default, caps::EXEC_MOUNT_CONTENT_CACHE);
    }
    require(!exec.secrets.is_empty(), caps::EXEC_MOUNT_SECRET);
    require(
        exec.secrets.iter().any(|it| it.env.is_some()),
        caps::EXEC_SECRET_ENV,
    );
    require(!exec.ssh.is_empty(), caps::EXEC_MOUNT_SSH);
    require(!exec.devices.is_empty(), caps::EXEC_META_CDI);
}

fn mounts(
    exec: &ExecNode,
    inputs: &mut Vec<pb::Input>,
    context: &Context<'_>,
) -> Result<Vec<pb::Mount>, MarshalError> {
    let mut mounts = Vec::new();
    let mut next_output = 0;
    for mount in &exec.mounts {
        let input = match &mount.source {
            Some(_) if matches!(mount.kind, MountKind::Tmpfs { .. }) => {
                return Err(MarshalError::TmpfsSource(mount.target.clone()));
            }
            source => context.add_input(inputs, source.as_ref())?,
        };
        let mut output = NONE;
        if mount.yields_output() {
            output = next_output;
            next_output += 1;
        }
        mounts.push(bind_mount(mount, input, output));
    }
    mounts.extend(exec.secrets.iter().filter_map(|secret| {
        Some(pb::Mount {
            input: NONE,
            dest: secret.target.clone()?,
            mount_type: pb::MountType::Secret.into(),
            secret_opt: Some(secret_opt(&secret.id, secret.file, secret.optional)),
            ..Default::default()
        })
    }));
    mounts.extend(exec.ssh.iter().enumerate().map(|(index, ssh)| pb::Mount {
        input: NONE,
        dest: ssh_target(exec, index),
        mount_type: pb::MountType::Ssh.into(),
        ssh_opt: Some(pb::SshOpt {
            id: ssh.id.clone(),
            uid: ssh.file.uid,
            gid: ssh.file.gid,
            mode: ssh.file.mode,
            optional: ssh.optional,
        }),
        ..Default::default()
    }));
    Ok(mounts)
}

fn bind_mount(mount: &ExecMount, input: i64, output: i64) -> pb::Mount {
    let mut wire = pb::Mount {
        input,
        output,
        selector: mount.selector.clone(),
        dest: mount.target.clone(),
        readonly: mount.access == Access::ReadOnly,
        content_cache: mount.content_cache.into(),
        ..Default::default()
    };
    match &mount.kind {
        MountKind::Bind => {}
        MountKind::Cache { id, sharing } => {
            wire.mount_type = pb::MountType::Cache.into();
            wire.cache_opt = Some(pb::CacheOpt {
                id: id.clone(),
                sharing: (*sharing).into(),
            });
        }
        MountKind::Tmpfs { size } => {
            wire.mount_type = pb::MountType::Tmpfs.into();
            wire.tmpfs_opt = Some(pb::TmpfsOpt { size: *size });
        }
    }
    wire
}

fn secret_opt(id: &str, file: FileOwner, optional: bool) -> pb::SecretOpt {
    pb::SecretOpt {
        id: id.into(),
        uid: file.uid,
        gid: file.gid,
        mode: file.mode,
        optional,
    }
}

fn ssh_target(exec: &ExecNode, index: usize) -> String {
    match exec.ssh.get(index) {
        Some(socket) if !socket.target.is_empty() => socket.target.clone(),
        _ => format!("/run/buildkit/ssh_agent.{index}"),
    }
}
