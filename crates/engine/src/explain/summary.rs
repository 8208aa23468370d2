//! What an op says, as facts: only what its cache key covers.

use kiln_llb::pb::{self, MountType, NetMode, SecurityMode, op};
use oci_spec::image::Digest;

use super::aspect::{Aspect, Fact};
use super::{StepKind, actions, words};
use crate::ops::keyed_cache_id;

/// Facts of one step that are kept; nothing sensible has more.
const MOST_FACTS: usize = 600;

/// Attributes of sources that only concern one build.
const OF_THE_SESSION: [&str; 3] = ["local.session", "local.unique", "local.sharedkeyhint"];

/// What kind of step an op is.
pub(crate) fn kind(op: &pb::Op) -> StepKind {
    match &op.op {
        Some(op::Op::Source(source)) => match source.identifier.split_once("://") {
            Some(("docker-image" | "oci-layout", _)) => StepKind::Image,
            Some(("local", _)) => StepKind::Local,
            _ => StepKind::Source,
        },
        Some(op::Op::Exec(_)) => StepKind::Exec,
        Some(op::Op::File(_)) => StepKind::File,
        _ => StepKind::Other,
    }
}

/// What an op says. `digest` is that of the image that a source stands for, as far as it is known.
pub(super) fn facts(op: &pb::Op, digest: Option<&Digest>) -> Vec<Fact> {
    let mut facts = Facts(Vec::new());
    match &op.op {
        Some(op::Op::Source(source)) => facts.source(source, digest),
        Some(op::Op::Exec(exec)) => facts.exec(exec),
        Some(op::Op::File(file)) => actions::add(&mut facts, file),
        _ => {}
    }
    if let Some(platform) = &op.platform {
        let text = kiln_llb::platform::format(&kiln_llb::platform::from_pb(platform));
        facts.add(Aspect::Platform, &text);
    }
    facts.0.truncate(MOST_FACTS);
    facts.0
}

/// Facts as they are gathered.
pub(super) struct Facts(Vec<Fact>);

impl Facts {
    pub(super) fn add(&mut self, aspect: Aspect, value: &str) {
        self.0.push(Fact {
            aspect,
            value: words::kept(value),
        });
    }

    /// Adds what is not empty.
    fn add_some(&mut self, aspect: Aspect, value: &str) {
        if !value.is_empty() {
            self.add(aspect, value);
        }
    }

    fn source(&mut self, source: &pb::SourceOp, digest: Option<&Digest>) {
        let identifier = source.identifier.as_str();
        let (name, pinned) = match identifier.split_once('@') {
            Some((name, pinned)) if pinned.starts_with("sha256:") => (name, Some(pinned)),
            _ => (identifier, None),
        };
        self.add(
            Aspect::Source,
            name.strip_prefix("docker-image://").unwrap_or(name),
        );
        let digest = digest.map(ToString::to_string);
        if let Some(digest) = pinned.or(digest.as_deref()) {
            self.add(Aspect::SourceDigest, digest);
        }
        let kept = source.attrs.iter();
        let kept = kept.filter(|(key, _)| !OF_THE_SESSION.contains(&key.as_str()));
        for (key, value) in kept {
            self.add(Aspect::Attribute(key.clone()), value);
        }
    }

    fn exec(&mut self, exec: &pb::ExecOp) {
        let meta = exec.meta.clone().unwrap_or_default();
        self.add(Aspect::Command, &meta.args.join(" "));
        for variable in &meta.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            self.add(Aspect::Variable(name.to_owned()), value);
        }
        self.add_some(Aspect::Directory, &meta.cwd);
        self.add_some(Aspect::User, &meta.user);
        self.add_some(Aspect::Hostname, &meta.hostname);
        for host in &meta.extra_hosts {
            self.add(Aspect::Host(host.host.clone()), "");
        }
        for limit in &meta.ulimit {
            let value = format!("{}:{}", limit.soft, limit.hard);
            self.add(Aspect::Limit(limit.name.clone()), &value);
        }
        self.add_some(Aspect::Setting("cgroup parent".into()), &meta.cgroup_parent);
        let codes: Vec<String> = meta
            .valid_exit_codes
            .iter()
            .map(ToString::to_string)
            .collect();
        self.add_some(Aspect::Setting("valid exit codes".into()), &codes.join(","));
        if meta.remove_mount_stubs_recursive {
            self.add(
                Aspect::Setting("removal of mount stubs".into()),
                "recursive",
            );
        }
        let network = match NetMode::try_from(exec.network) {
            Ok(NetMode::Host) => "host",
            Ok(NetMode::None) => "none",
            _ => "default",
        };
        self.add(Aspect::Network, network);
        if exec.security == SecurityMode::Insecure as i32 {
            self.add(Aspect::Security, "insecure");
        }
        for mount in &exec.mounts {
            self.mount(mount);
        }
        for secret in &exec.secretenv {
            let value = format!("{}{}", secret.name, optional(secret.optional));
            self.add(Aspect::Secret(secret.id.clone()), &value);
        }
        for device in &exec.cdi_devices {
            self.add(
                Aspect::Device(device.name.clone()),
                optional(device.optional),
            );
        }
    }

    fn mount(&mut self, mount: &pb::Mount) {
        let kind = MountType::try_from(mount.mount_type).unwrap_or_default();
        // The root filesystem is what the step builds on.
        if mount.dest == "/" && kind == MountType::Bind && !mount.readonly {
            return;
        }
        let mut text = match kind {
            MountType::Bind => "bind",
            MountType::Secret => "secret",
            MountType::Ssh => "ssh",
            MountType::Cache => "cache",
            MountType::Tmpfs => "tmpfs",
        }
        .to_owned();
        let mut say = |name: &str, value: &str| {
            if !value.is_empty() {
                text.push_str(&format!(",{name}={value}"));
            }
        };
        say("source", mount.selector.trim_start_matches('/'));
        if let Some(opt) = &mount.secret_opt {
            say("id", &opt.id);
            say("rights", &rights(opt.uid, opt.gid, opt.mode));
            say("required", if opt.optional { "" } else { "true" });
        }
        if let Some(opt) = &mount.ssh_opt {
            say("id", &opt.id);
            say("rights", &rights(opt.uid, opt.gid, opt.mode));
            say("required", if opt.optional { "" } else { "true" });
        }
        if let Some(opt) = &mount.cache_opt {
            say("id", keyed_cache_id(mount, opt).unwrap_or_default());
        }
        if let Some(opt) = &mount.tmpfs_opt {
            say("size", &opt.size.to_string());
        }
        say("readonly", if mount.readonly { "true" } else { "" });
        let is_kept = kind == MountType::Bind && mount.output >= 0;
        say("kept", if is_kept { "true" } else { "" });
        self.add(Aspect::Mount(mount.dest.clone()), &text);
    }
}

fn rights(uid: u32, gid: u32, mode: u32) -> String {
    format!("{uid}:{gid}:{mode:04o}")
}

fn optional(is_optional: bool) -> &'static str {
    if is_optional { " (optional)" } else { "" }
}
