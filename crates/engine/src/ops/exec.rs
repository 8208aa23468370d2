//! `ExecOp`: runs a process in a root filesystem made of its inputs.

use std::sync::{Arc, Mutex, PoisonError};

use kiln_executor::{ExecError, ExecRequest, ExitStatus};
use kiln_llb::pb::{MountContentCache, MountType};
use kiln_llb::{digest_of, pb, platform};
use kiln_proxy::Record;
use kiln_solver::{CacheDep, CacheMap, OpContext};
use kiln_store::checksum::ChecksumOptions;
use oci_spec::image::Platform;

use super::content::dedupe_paths;
use super::exec_mounts::{Prepared, Setting};
use super::{Output, digest, exec_io};
use crate::checksums::Selector;
use crate::error::{BuildError, Detail, FailedStep, Kind};
use crate::jobs::Lenders;
use crate::step_network::{self, BuildRules, Seen, StepNetwork, WatchedNetwork};
use crate::usage::StepUsage;
use crate::worker::Worker;

pub(super) struct ExecOp {
    pub(super) op: pb::ExecOp,
    pub(super) meta: pb::Meta,
    pub(super) platform: Platform,
    pub(super) resources: Option<pb::LinuxResources>,
    inputs: Vec<InputUse>,
    network: StepNetwork,
    /// What the last run fetched by its proxy.
    record: Mutex<Option<Arc<Record>>>,
    /// What the last run used, if somebody wanted to know.
    usage: Mutex<Option<StepUsage>>,
}

/// How a process ended, and what it used.
type Ran = (Result<ExitStatus, ExecError>, Option<StepUsage>);

/// How mounts use one input.
#[derive(Clone, Default)]
struct InputUse {
    /// Absolute paths in the input that mounts show.
    paths: Vec<String>,
    /// Whether the step may be keyed by what these paths contain.
    by_content: bool,
}

impl ExecOp {
    pub(super) fn new(
        op: &pb::ExecOp,
        platform: Platform,
        inputs: usize,
    ) -> Result<Self, BuildError> {
        let meta = op.meta.clone().filter(|meta| !meta.args.is_empty());
        let meta = meta.ok_or_else(|| BuildError::new(Kind::Input, "exec op without arguments"))?;
        let inputs = input_uses(op, inputs)?;
        Ok(Self {
            op: op.clone(),
            meta,
            platform,
            resources: None,
            inputs,
            network: StepNetwork::Direct,
            record: Mutex::default(),
            usage: Mutex::default(),
        })
    }

    pub(super) fn with_resources(self, resources: Option<pb::LinuxResources>) -> Self {
        Self { resources, ..self }
    }

    pub(super) fn with_network(self, network: StepNetwork) -> Self {
        Self { network, ..self }
    }

    fn is_proxied(&self) -> bool {
        self.network.is_proxied(self.op.network)
    }

    /// What it used, if it ran and somebody wanted to know.
    pub(super) fn usage(&self) -> Option<StepUsage> {
        let usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.clone()
    }

    /// What is known of its requests to the network.
    pub(super) fn seen(&self) -> Seen {
        if !self.is_proxied() {
            return Seen::Nothing;
        }
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.clone().map_or(Seen::Unrecorded, Seen::Everything)
    }

    /// The command line as errors and descriptions show it.
    pub(super) fn command(&self) -> String {
        self.meta.args.join(" ")
    }

    pub(super) fn cache_map(&self) -> Result<CacheMap, BuildError> {
        let deps = self.inputs.iter().map(|input| CacheDep {
            selector: (!input.paths.is_empty()).then(|| digest_of(input.paths.join("\0"))),
            content: input.by_content,
        });
        let mut digest = digest::exec(&self.op, &platform::to_pb(&self.platform));
        if self.is_proxied() {
            // Nothing is known of what the same step fetched without a proxy, nor whether it might have.
            digest = digest_of(format!("{digest}{}", step_network::SALT));
        }
        Ok(CacheMap {
            digest,
            deps: deps.collect(),
            more: false,
        })
    }

    pub(super) fn content_selectors(&self, input: usize) -> Vec<Selector> {
        let Some(input) = self.inputs.get(input) else {
            return Vec::new();
        };
        let paths = dedupe_paths(&input.paths);
        if paths.iter().any(|path| path == "/") {
            return Vec::new();
        }
        let options = ChecksumOptions {
            follow_links: true,
            ..ChecksumOptions::default()
        };
        let selector = |path| Selector {
            path,
            options: options.clone(),
        };
        paths.into_iter().map(selector).collect()
    }

    pub(super) async fn execute(
        &self,
        worker: &Arc<Worker>,
        cx: &OpContext,
        inputs: Vec<Output>,
    ) -> Result<Vec<Output>, BuildError> {
        let setting = Setting {
            mounts: &self.op.mounts,
            cwd: &self.meta.cwd,
            user: format!("exec {}", self.command()),
            worker,
            lenders: Lenders::Live(&worker.jobs, cx),
        };
        let mut prepared = Prepared::new(setting, &inputs).await?;
        let request = exec_io::request(self, worker, cx, &mut prepared).await?;
        let (status, used) = match self.is_proxied() {
            false => exec_io::run(worker, cx, request).await,
            true => self.run_watched(worker, cx, request).await?,
        };
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = used;
        match self.check(status) {
            Ok(()) => prepared.commit(),
            Err(error) if worker.jobs.are_inspected(cx) => {
                Err(error.detail(self.debris(prepared, &inputs)?))
            }
            Err(error) => Err(error),
        }
    }

    /// Runs with a proxy in place of the network, and lists what went through it.
    async fn run_watched(
        &self,
        worker: &Worker,
        cx: &OpContext,
        mut request: ExecRequest,
    ) -> Result<Ran, BuildError> {
        let rules = BuildRules::Live(worker.jobs.clone(), cx.clone());
        let network = WatchedNetwork::start(worker, rules, &mut request).await?;
        let ran = exec_io::run(worker, cx, request).await;
        let record = Arc::new(network.stop().await);
        step_network::show(&worker.jobs.reporter(cx), &record);
        let mut slot = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(record);
        Ok(ran)
    }

    /// What a failed run leaves, for those who look into it.
    fn debris(&self, prepared: Prepared, inputs: &[Output]) -> Result<Detail, BuildError> {
        let input = |mount: &pb::Mount| usize::try_from(mount.input).ok();
        let shown = self.op.mounts.iter();
        let shown = shown.map(|mount| inputs.get(input(mount)?).cloned().flatten());
        let shown: Vec<Output> = shown.collect();
        Ok(Detail::Step(Arc::new(FailedStep {
            mounts: prepared.debris(&shown)?,
            inputs: shown,
            ..FailedStep::default()
        })))
    }

    fn check(&self, status: Result<ExitStatus, ExecError>) -> Result<(), BuildError> {
        let failed = |kind, what: String| {
            let command = self.command();
            let message = format!("process {command:?} did not complete successfully: {what}");
            BuildError::new(kind, message)
        };
        match status {
            Ok(status) if self.is_success(status) => Ok(()),
            Ok(status) => {
                let exit = Detail::Exit(status.code);
                Err(failed(Kind::Input, status.to_string()).detail(exit))
            }
            Err(error) => Err(failed(exec_io::kind(&error), crate::error::chain(&error))),
        }
    }

    fn is_success(&self, status: ExitStatus) -> bool {
        let valid = &self.meta.valid_exit_codes;
        match valid.is_empty() {
            true => status.success(),
            false => valid
                .iter()
                .any(|code| u32::try_from(*code) == Ok(status.code)),
        }
    }
}

fn input_uses(op: &pb::ExecOp, inputs: usize) -> Result<Vec<InputUse>, BuildError> {
    let mut uses = vec![InputUse::default(); inputs];
    for mount in &op.mounts {
        let kind = MountType::try_from(mount.mount_type);
        if matches!(
            kind,
            Ok(MountType::Secret | MountType::Ssh | MountType::Tmpfs)
        ) {
            continue;
        }
        let Ok(index) = usize::try_from(mount.input) else {
            continue;
        };
        let Some(input) = uses.get_mut(index) else {
            let message = format!("mount {} asks for input {index} of {inputs}", mount.dest);
            return Err(BuildError::new(Kind::Input, message));
        };
        let selector = super::file_actions::absolute(&mount.selector);
        input.by_content = is_keyed_by_content(mount, &selector)?;
        input.paths.push(selector);
    }
    Ok(uses)
}

/// Keying by content is safe only if nothing outside of the selected path can
/// end up in a result: for mounts without output, read-only ones, and those
/// that show the whole input. The root filesystem is never keyed that way
/// because hashing it costs more than it saves.
fn is_keyed_by_content(mount: &pb::Mount, selector: &str) -> Result<bool, BuildError> {
    let safe = mount.output == -1 || mount.readonly || selector == "/";
    match MountContentCache::try_from(mount.content_cache) {
        Ok(MountContentCache::Off) => Ok(false),
        Ok(MountContentCache::On) if safe => Ok(true),
        Ok(MountContentCache::Default) => Ok(safe && mount.dest != "/"),
        _ => Err(BuildError::new(
            Kind::Input,
            format!("invalid mount cache content of mount {}", mount.dest),
        )),
    }
}
