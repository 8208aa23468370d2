//! `RUN --mount`.

use super::Context;
use super::capture::MountInfo;
use super::dispatch::Instruction;
use super::error::{LowerError, LowerErrorKind};
use super::stage::{Phase, Stage, StageId};
use super::variables::expand;
use crate::instruction::{self, MountType, Run, Sharing};
use kiln_llb::build::{
    Access, Constraints, FileActions, FileOwner, MakeDir, Mount, MountKind, Owner, Secret,
    SshSocket, State,
};
use kiln_llb::{caps, path, pb};

/// The mounts of an instruction, by kind.
#[derive(Default)]
pub(crate) struct Mounted {
    pub(crate) files: Vec<Mount>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) ssh: Vec<SshSocket>,
    /// Variables that hold secrets.
    pub(crate) secret_names: Vec<String>,
}

/// Lowers the mounts of an instruction.
pub(crate) fn mounts(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    at: &Instruction<'_>,
    run: &Run,
    sources: &[StageId],
) -> Result<Mounted, LowerError> {
    let mut mounted = Mounted::default();
    for (flag, source) in run.mounts.iter().zip(sources) {
        let lexer = cx.lexer;
        let mount = flag.evaluate(&mut |word| expand(cx, stage, &lexer, word, at.place()))?;
        match mount.kind {
            MountType::Secret => {
                mounted.secret_names.extend(mount.env.clone());
                mounted.secrets.push(secret(stage, at, mount)?);
            }
            MountType::Ssh => mounted.ssh.push(ssh(stage, at, mount)?),
            MountType::Bind | MountType::Cache | MountType::Tmpfs => {
                mounted.files.push(files(cx, stage, *source, mount)?);
            }
        }
    }
    Ok(mounted)
}

fn files(
    cx: &mut Context<'_>,
    stage: &mut Stage,
    source: StageId,
    mount: instruction::Mount,
) -> Result<Mount, LowerError> {
    // An empty source of a cache is an empty stage, not the context.
    let from_stage = !mount.from.is_empty() || mount.kind == MountType::Cache;
    let state = if from_stage {
        stage_state(cx, source, &mount)?
    } else {
        cx.context.clone()
    };
    let target = target(stage, &mount.target)?;
    let mut result = Mount::new(target, state);
    if mount.readonly {
        result.access = Access::ReadOnly;
    } else if mount.kind == MountType::Bind
        && cx
            .options
            .caps
            .supports(caps::EXEC_MOUNT_BIND_READ_WRITE_NO_OUTPUT)
    {
        result.access = Access::Discard;
    }
    match mount.kind {
        MountType::Tmpfs => {
            result.source = State::scratch();
            result.kind = MountKind::Tmpfs {
                size: mount.size_limit,
            };
        }
        MountType::Cache => result.kind = cache(cx, &mount),
        _ => {}
    }
    let selector = path::join(["/", mount.source.as_str()]);
    let owned = mount.uid.is_some() || mount.gid.is_some() || mount.mode.is_some();
    if selector != "/" {
        result.selector = selector;
    } else if owned {
        result.source = with_owned_dir(&result.source, &mount);
        result.selector = OWNED_DIR.into();
    }
    match from_stage {
        true => cx.stages[source].use_path(&mount.source),
        false => stage.use_context_path(&mount.source),
    }
    Ok(result)
}

fn stage_state(
    cx: &Context<'_>,
    source: StageId,
    mount: &instruction::Mount,
) -> Result<State, LowerError> {
    let stage = &cx.stages[source];
    if stage.phase != Phase::Done {
        return Err(LowerErrorKind::MountFromLater {
            from: mount.from.clone(),
            target: mount.target.clone(),
        }
        .into());
    }
    Ok(stage.state())
}

fn target(stage: &Stage, target: &str) -> Result<String, LowerError> {
    let target = if path::is_abs(target) {
        target.to_string()
    } else {
        path::join(["/", stage.state().settings().dir.as_str(), target])
    };
    if target == "/" {
        return Err(LowerErrorKind::MountTarget(target).into());
    }
    Ok(target)
}

fn cache(cx: &Context<'_>, mount: &instruction::Mount) -> MountKind {
    let id = match mount.id.as_str() {
        "" => path::clean(&mount.target),
        id => id.to_string(),
    };
    MountKind::Cache {
        id: format!("{}/{id}", cx.options.cache_namespace),
        sharing: match mount.sharing {
            None | Some(Sharing::Shared) => pb::CacheSharingOpt::Shared,
            Some(Sharing::Private) => pb::CacheSharingOpt::Private,
            Some(Sharing::Locked) => pb::CacheSharingOpt::Locked,
        },
    }
}

/// A directory that is mounted in place of a root, which cannot have an owner of its own.
const OWNED_DIR: &str = "/cache";

fn with_owned_dir(state: &State, mount: &instruction::Mount) -> State {
    let mut actions = FileActions::new();
    actions.make_dir(MakeDir {
        path: OWNED_DIR.into(),
        mode: mount.mode.unwrap_or(0o755),
        owner: Some(Owner::ids(mount.uid.unwrap_or(0), mount.gid.unwrap_or(0))),
        ..Default::default()
    });
    let name = super::names::internal("setting cache mount permissions");
    state.file(actions, Constraints::named(name))
}

fn file_owner(mount: &instruction::Mount, mode: u32) -> FileOwner {
    FileOwner {
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
        mode: mount.mode.unwrap_or(mode),
    }
}

fn secret(
    stage: &mut Stage,
    at: &Instruction<'_>,
    mount: instruction::Mount,
) -> Result<Secret, LowerError> {
    let id = match (
        mount.source.as_str(),
        mount.id.as_str(),
        mount.target.as_str(),
    ) {
        ("", "", "") => return Err(LowerErrorKind::SecretNameless.into()),
        ("", "", target) => path::base(target).to_string(),
        ("", id, _) => id.to_string(),
        (source, _, _) => source.to_string(),
    };
    let target = match (mount.target.as_str(), &mount.env) {
        ("", None) => Some(format!("/run/secrets/{}", path::base(&id))),
        ("", Some(_)) => None,
        (target, _) => Some(target.to_string()),
    };
    let info = MountInfo {
        required: mount.required,
        location: at.location,
    };
    stage.capture.secrets.entry(id.clone()).or_insert(info);
    Ok(Secret {
        target,
        file: file_owner(&mount, 0o400),
        env: mount.env,
        optional: !mount.required,
        id,
    })
}

fn ssh(
    stage: &mut Stage,
    at: &Instruction<'_>,
    mount: instruction::Mount,
) -> Result<SshSocket, LowerError> {
    if !mount.source.is_empty() {
        return Err(LowerErrorKind::SshSource.into());
    }
    let shown = if mount.id.is_empty() {
        "default"
    } else {
        mount.id.as_str()
    };
    let info = MountInfo {
        required: mount.required,
        location: at.location,
    };
    stage.capture.ssh.entry(shown.into()).or_insert(info);
    Ok(SshSocket {
        file: file_owner(&mount, 0o600),
        optional: !mount.required,
        id: mount.id,
        target: mount.target,
    })
}
