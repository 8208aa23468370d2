//! What a step's mounts are made of, and what becomes of them afterwards.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_executor::{Access, MemoryFile, Mount, MountPoint, RootAccess};
use kiln_llb::pb::{self, CacheSharingOpt, MountType};
use kiln_session::{SocketOwner, SshSocket};
use kiln_store::cache_mount::{CacheMount, CacheMountRequest, Sharing};
use kiln_store::{MutableOptions, MutableRef, Ref};

use super::{Output, input_at};
use crate::cache_transfer::ImportedMount;
use crate::error::{BuildError, Kind};
use crate::jobs::Lenders;
use crate::tree::store_error;
use crate::worker::Worker;

/// `Mount.output` of a mount whose changes are thrown away.
const NO_OUTPUT: i64 = -1;

/// A process's mounts, ready to run. What is not committed is discarded when
/// this is dropped.
pub(crate) struct Prepared {
    /// The root filesystem.
    pub(crate) root: Vec<Mount>,
    pub(crate) root_access: RootAccess,
    /// Mounts below the root, parents first.
    pub(crate) mounts: Vec<MountPoint>,
    /// Secrets shown as files.
    pub(crate) files: Vec<MemoryFile>,
    outputs: Vec<(usize, Product)>,
    /// Trees that are thrown away unless the process fails.
    discarded: Vec<(usize, MutableRef)>,
    _caches: Vec<CacheMount>,
    _sockets: Vec<Box<dyn SshSocket>>,
}

/// What one output will be.
enum Product {
    /// The input as it came: the step could not change it.
    Input(Output),
    /// What the step made.
    Made(MutableRef),
}

/// What everything in here needs to know.
pub(crate) struct Setting<'a> {
    /// The mounts wanted.
    pub(crate) mounts: &'a [pb::Mount],
    /// The directory that relative targets lie below.
    pub(crate) cwd: &'a str,
    /// Who mounts, as `du` shows it, such as `exec make`.
    pub(crate) user: String,
    pub(crate) worker: &'a Arc<Worker>,
    /// Who lends secrets and agents.
    pub(crate) lenders: Lenders<'a>,
}

impl Prepared {
    pub(crate) async fn new(setting: Setting<'_>, inputs: &[Output]) -> Result<Self, BuildError> {
        for input in inputs.iter().flatten() {
            input.materialize().await.map_err(store_error)?;
        }
        let mut prepared = Self {
            root: Vec::new(),
            root_access: RootAccess::ReadWrite,
            mounts: Vec::new(),
            files: Vec::new(),
            outputs: Vec::new(),
            discarded: Vec::new(),
            _caches: Vec::new(),
            _sockets: Vec::new(),
        };
        for (index, mount) in setting.mounts.iter().enumerate() {
            prepared.add(&setting, (index, mount), inputs).await?;
        }
        if prepared.root.is_empty() {
            return Err(BuildError::new(
                Kind::Input,
                format!("{} without a root filesystem", setting.user),
            ));
        }
        prepared.mounts.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(prepared)
    }

    async fn add(
        &mut self,
        setting: &Setting<'_>,
        (index, mount): (usize, &pb::Mount),
        inputs: &[Output],
    ) -> Result<(), BuildError> {
        let kind = MountType::try_from(mount.mount_type).map_err(|_| {
            let message = format!(
                "mount type {} of {} is not known",
                mount.mount_type, mount.dest
            );
            BuildError::new(Kind::Input, message)
        })?;
        if mount.dest == "/" && kind != MountType::Bind {
            let message = format!("invalid mount type {} for /", kind.as_str_name());
            return Err(BuildError::new(Kind::Input, message));
        }
        let input = match usize::try_from(mount.input) {
            Ok(index) => Some(input_at(inputs, index)?.clone()),
            Err(_) => None,
        };
        match kind {
            MountType::Bind => self.add_bind(setting, (index, mount), input),
            MountType::Cache => {
                let seed = input.flatten();
                self.add_cache(setting, (index, mount), seed).await
            }
            MountType::Tmpfs => {
                self.add_tmpfs(setting, mount);
                Ok(())
            }
            MountType::Secret => self.add_secret(setting, mount).await,
            MountType::Ssh => self.add_ssh(setting, mount).await,
        }
    }

    /// A tree: written to a new layer when it makes an output or may be
    /// written to, shown as it is otherwise.
    fn add_bind(
        &mut self,
        setting: &Setting<'_>,
        (index, mount): (usize, &pb::Mount),
        input: Option<Output>,
    ) -> Result<(), BuildError> {
        let is_root = mount.dest == "/";
        let reference = input.flatten();
        if mount.output == NO_OUTPUT
            && mount.readonly
            && !is_root
            && let Some(reference) = &reference
        {
            let sources = mounts_of(reference)?;
            self.mounts.push(mount_point(setting, mount, sources));
            return Ok(());
        }
        if mount.output != NO_OUTPUT && mount.readonly && !is_root && reference.is_some() {
            let sources = reference.as_ref().map_or(Ok(Vec::new()), mounts_of)?;
            self.mounts.push(mount_point(setting, mount, sources));
            self.outputs.push((index, Product::Input(reference)));
            return Ok(());
        }
        let description = format!("mount {} from {}", mount.dest, setting.user);
        let options = MutableOptions {
            description,
            ..MutableOptions::default()
        };
        let made = setting
            .worker
            .store
            .mutable(reference.as_ref(), options)
            .map_err(store_error)?;
        let sources = made
            .mounts()
            .map_err(store_error)?
            .into_iter()
            .map(executor_mount)
            .collect();
        if is_root {
            self.root = sources;
            self.root_access = if mount.readonly {
                RootAccess::ReadOnly
            } else {
                RootAccess::ReadWrite
            };
        } else {
            self.mounts.push(mount_point(setting, mount, sources));
        }
        match mount.output {
            NO_OUTPUT => self.discarded.push((index, made)),
            _ => self.outputs.push((index, Product::Made(made))),
        }
        Ok(())
    }

    async fn add_cache(
        &mut self,
        setting: &Setting<'_>,
        (index, mount): (usize, &pb::Mount),
        seed: Option<Ref>,
    ) -> Result<(), BuildError> {
        let options = mount.cache_opt.as_ref().ok_or_else(|| {
            BuildError::new(
                Kind::Input,
                format!("missing cache mount options of {}", mount.dest),
            )
        })?;
        let sharing = match CacheSharingOpt::try_from(options.sharing) {
            Ok(CacheSharingOpt::Shared) => Sharing::Shared,
            Ok(CacheSharingOpt::Private) => Sharing::Private,
            Ok(CacheSharingOpt::Locked) => Sharing::Locked,
            Err(_) => {
                let message = format!("invalid cache sharing option: {}", options.sharing);
                return Err(BuildError::new(Kind::Input, message));
            }
        };
        let mut description = format!("cached mount {} from {}", mount.dest, setting.user);
        if options.id != mount.dest {
            description = format!("{description} with id {:?}", options.id);
        }
        let request = CacheMountRequest {
            id: &options.id,
            sharing,
            seed: seed.as_ref(),
            fill: setting.lenders.mounts().and_then(|found| {
                ImportedMount::beside_imports(&options.id, seed.as_ref(), setting.worker, found)
            }),
            description,
        };
        let cache = setting
            .worker
            .store
            .cache_mount(request)
            .await
            .map_err(store_error)?;
        let sources = cache.mounts().into_iter().map(executor_mount).collect();
        self.mounts.push(mount_point(setting, mount, sources));
        self._caches.push(cache);
        if mount.output != NO_OUTPUT && seed.is_some() {
            self.outputs.push((index, Product::Input(seed)));
        }
        Ok(())
    }

    fn add_tmpfs(&mut self, setting: &Setting<'_>, mount: &pb::Mount) {
        let size = mount.tmpfs_opt.as_ref().map_or(0, |options| options.size);
        let mut options = vec!["nosuid".to_owned()];
        if size > 0 {
            options.push(format!("size={size}"));
        }
        self.mounts
            .push(mount_point(setting, mount, vec![Mount::tmpfs(options)]));
    }

    async fn add_secret(
        &mut self,
        setting: &Setting<'_>,
        mount: &pb::Mount,
    ) -> Result<(), BuildError> {
        let options = mount
            .secret_opt
            .as_ref()
            .filter(|options| !options.id.is_empty());
        let options = options
            .ok_or_else(|| BuildError::new(Kind::Input, "secret ID missing from mount options"))?;
        let Some(data) = find_secret(&setting.lenders, &options.id, options.optional).await? else {
            return Ok(());
        };
        self.files.push(MemoryFile {
            target: target(setting, mount),
            data,
            uid: options.uid,
            gid: options.gid,
            mode: options.mode & 0o777,
        });
        Ok(())
    }

    async fn add_ssh(
        &mut self,
        setting: &Setting<'_>,
        mount: &pb::Mount,
    ) -> Result<(), BuildError> {
        let default = pb::SshOpt::default();
        let options = mount.ssh_opt.as_ref().unwrap_or(&default);
        for session in setting.lenders.sessions() {
            let agent = session.ssh.agent(&options.id).await;
            let agent = agent.map_err(|error| BuildError::wrap(Kind::Environment, error))?;
            if let Some(socket) = agent {
                let given = socket.give_to(SocketOwner {
                    uid: options.uid,
                    gid: options.gid,
                    mode: options.mode & 0o777,
                });
                given.map_err(|error| BuildError::wrap(Kind::Environment, error))?;
                let source = Mount::bind(socket.path());
                self.mounts.push(mount_point(setting, mount, vec![source]));
                self._sockets.push(socket);
                return Ok(());
            }
        }
        if options.optional {
            return Ok(());
        }
        let message = format!("no SSH key {:?} forwarded from the client", options.id);
        Err(BuildError::new(Kind::Input, message).hint("give the build one with --ssh"))
    }

    /// Makes the outputs immutable, in the order of their mounts.
    pub(super) fn commit(self) -> Result<Vec<Output>, BuildError> {
        let outputs = self.outputs.into_iter();
        outputs.map(|(_, product)| product.finish()).collect()
    }

    /// What the mounts are like after a failure, in their order, for those
    /// who look into it; `inputs` is what they showed before.
    pub(crate) fn debris(self, inputs: &[Output]) -> Result<Vec<Output>, BuildError> {
        let mut mounts = inputs.to_vec();
        let discarded = self.discarded.into_iter();
        let discarded = discarded.map(|(index, made)| (index, Product::Made(made)));
        for (index, product) in self.outputs.into_iter().chain(discarded) {
            if let Some(mount) = mounts.get_mut(index) {
                *mount = product.finish()?;
            }
        }
        Ok(mounts)
    }
}

impl Product {
    fn finish(self) -> Result<Output, BuildError> {
        match self {
            Self::Input(input) => Ok(input),
            Self::Made(made) => made.commit().map(Some).map_err(store_error),
        }
    }
}

/// A secret's value from the first client that has it; `None` if it is
/// optional and nobody does.
pub(crate) async fn find_secret(
    lenders: &Lenders<'_>,
    id: &str,
    optional: bool,
) -> Result<Option<Vec<u8>>, BuildError> {
    for session in lenders.sessions() {
        let secret = session.secrets.secret(id).await;
        let secret = secret.map_err(|error| BuildError::wrap(Kind::Input, error))?;
        if let Some(value) = secret {
            return Ok(Some(value.to_vec()));
        }
    }
    if optional {
        return Ok(None);
    }
    let error = BuildError::new(Kind::Input, format!("secret {id}: not found"));
    Err(error.hint(format!("give the build one with --secret id={id},src=FILE")))
}

fn mount_point(setting: &Setting<'_>, mount: &pb::Mount, sources: Vec<Mount>) -> MountPoint {
    let selector = Path::new(&mount.selector);
    MountPoint {
        target: target(setting, mount),
        sources,
        selector: (!matches!(mount.selector.as_str(), "" | "/")).then(|| selector.to_path_buf()),
        access: if mount.readonly {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        },
    }
}

/// Relative targets lie below the working directory.
fn target(setting: &Setting<'_>, mount: &pb::Mount) -> PathBuf {
    Path::new("/").join(setting.cwd).join(&mount.dest)
}

fn mounts_of(reference: &Ref) -> Result<Vec<Mount>, BuildError> {
    let mounts = reference.mounts().map_err(store_error)?;
    Ok(mounts.into_iter().map(executor_mount).collect())
}

fn executor_mount(mount: kiln_store::Mount) -> Mount {
    Mount {
        kind: mount.kind,
        source: mount.source,
        options: mount.options,
    }
}
