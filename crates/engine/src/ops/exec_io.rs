//! Turns an exec op into an execution request and follows its run.

use bytes::Bytes;
use kiln_executor::usage::CpuTimes;
use kiln_executor::{
    ExecError, ExecIo, ExecRequest, ExitStatus, HostAddress, Mount, Network, Resources, Rlimit,
    Security, StubRemoval,
};
use kiln_llb::pb::{self, NetMode, SecurityMode};
use kiln_session::SessionId;
use kiln_solver::OpContext;
use tokio::sync::{mpsc, oneshot};

use super::exec::ExecOp;
use super::exec_mounts::{Prepared, find_secret};
use crate::devices::Injection;
use crate::engine::blocking;
use crate::error::{BuildError, Kind};
use crate::jobs::{Lenders, Reporter};
use crate::usage::StepUsage;
use crate::worker::Worker;

/// What a process finds in `PATH` if nothing sets it.
pub(crate) const DEFAULT_PATH: &str =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The limit of open files, by its name.
const NOFILE: &str = "nofile";

/// How many chunks of output may wait for a slow client before the process
/// is made to wait too.
pub(crate) const OUTPUT_QUEUE: usize = 64;

/// Who has to act when a process could not be run.
pub(crate) fn kind(error: &ExecError) -> Kind {
    match error {
        ExecError::Cancelled => Kind::Cancelled,
        ExecError::Invalid(_) | ExecError::Program { .. } => Kind::Input,
        _ => Kind::Environment,
    }
}

pub(super) async fn request(
    op: &ExecOp,
    worker: &Worker,
    cx: &OpContext,
    prepared: &mut Prepared,
) -> Result<ExecRequest, BuildError> {
    let meta = &op.meta;
    let root = std::mem::take(&mut prepared.root);
    let mut request = usual(worker, root, meta.args.clone());
    request.root_access = prepared.root_access;
    request.mounts = std::mem::take(&mut prepared.mounts);
    request.files = std::mem::take(&mut prepared.files);
    request.env = environment(op, worker, cx).await?;
    request.cwd = std::path::Path::new("/").join(&meta.cwd);
    request.user = meta.user.clone();
    request.hostname = meta.hostname.clone();
    request.extra_hosts = extra_hosts(&meta.extra_hosts)?;
    set_limits(&mut request.rlimits, &meta.ulimit);
    request.cgroup_parent = Some(meta.cgroup_parent.clone()).filter(|parent| !parent.is_empty());
    request.resources = op
        .resources
        .as_ref()
        .map_or_else(Resources::default, resources);
    request.network = network(op.op.network)?;
    request.security = security(op.op.security)?;
    if meta.remove_mount_stubs_recursive {
        request.stubs = StubRemoval::Recursive;
    }
    if !op.op.cdi_devices.is_empty() {
        devices(worker, &op.op.cdi_devices)
            .await
            .map_err(|error| error.context("CDI device injection failed"))?
            .apply(&mut request);
    }
    Ok(request)
}

async fn devices(worker: &Worker, asked: &[pb::CdiDevice]) -> Result<Injection, BuildError> {
    let (devices, asked) = (worker.devices().await?, asked.to_vec());
    blocking(move || devices.inject(&asked)).await
}

/// A process in `root`, with what holds for all processes of this worker: the
/// name servers, and the usual limit of open files, since the engine's own may
/// be higher than programs can do with.
pub(crate) fn usual(worker: &Worker, root: Vec<Mount>, args: Vec<String>) -> ExecRequest {
    let mut request = ExecRequest::new(SessionId::random().as_str(), root, args);
    request.dns = worker.dns.clone();
    let open_files = worker.open_files.map(|limit| Rlimit {
        name: NOFILE.into(),
        soft: limit.soft,
        hard: limit.hard,
    });
    request.rlimits.extend(open_files);
    request
}

async fn environment(
    op: &ExecOp,
    worker: &Worker,
    cx: &OpContext,
) -> Result<Vec<String>, BuildError> {
    let mut env = op.meta.env.clone();
    if let Some(proxy) = &op.meta.proxy_env {
        env.extend(proxy_variables(proxy));
    }
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(DEFAULT_PATH.into());
    }
    let lenders = Lenders::Live(&worker.jobs, cx);
    env.extend(secret_variables(&op.op.secretenv, &lenders).await?);
    Ok(env)
}

/// Secrets as variables. An optional one that nobody has is empty.
pub(crate) async fn secret_variables(
    secrets: &[pb::SecretEnv],
    lenders: &Lenders<'_>,
) -> Result<Vec<String>, BuildError> {
    let mut variables = Vec::with_capacity(secrets.len());
    for secret in secrets {
        if secret.id.is_empty() {
            let message = format!(
                "secret ID missing for {:?} environment variable",
                secret.name
            );
            return Err(BuildError::new(Kind::Input, message));
        }
        let value = find_secret(lenders, &secret.id, secret.optional).await?;
        let value = value.unwrap_or_default();
        let value = String::from_utf8(value).map_err(|_| {
            let message = format!("secret {} for {} is not UTF-8 text", secret.id, secret.name);
            BuildError::new(Kind::Input, message).hint("mount it as a file instead")
        })?;
        variables.push(format!("{}={value}", secret.name));
    }
    Ok(variables)
}

fn proxy_variables(proxy: &pb::ProxyEnv) -> Vec<String> {
    let variables = [
        ("HTTP_PROXY", &proxy.http_proxy),
        ("HTTPS_PROXY", &proxy.https_proxy),
        ("FTP_PROXY", &proxy.ftp_proxy),
        ("NO_PROXY", &proxy.no_proxy),
        ("ALL_PROXY", &proxy.all_proxy),
    ];
    let set = variables.into_iter().filter(|(_, value)| !value.is_empty());
    set.flat_map(|(name, value)| {
        [
            format!("{name}={value}"),
            format!("{}={value}", name.to_lowercase()),
        ]
    })
    .collect()
}

pub(crate) fn extra_hosts(hosts: &[pb::HostIp]) -> Result<Vec<HostAddress>, BuildError> {
    let parsed = hosts.iter().map(|host| {
        let address = host.ip.parse().map_err(|_| {
            let message = format!(
                "failed to parse IP {:?} of extra host {:?}",
                host.ip, host.host
            );
            BuildError::new(Kind::Input, message)
        })?;
        Ok(HostAddress {
            host: host.host.clone(),
            address,
        })
    });
    parsed.collect()
}

/// Adds limits in place of those of the same name.
fn set_limits(limits: &mut Vec<Rlimit>, wanted: &[pb::Ulimit]) {
    for limit in wanted {
        limits.retain(|known| !known.name.eq_ignore_ascii_case(&limit.name));
        limits.push(rlimit(limit));
    }
}

/// Negative limits mean none, which the kernel spells as the largest number.
fn rlimit(limit: &pb::Ulimit) -> Rlimit {
    let value = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    Rlimit {
        name: limit.name.clone(),
        soft: value(limit.soft),
        hard: value(limit.hard),
    }
}

fn resources(limits: &pb::LinuxResources) -> Resources {
    Resources {
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        cpu_shares: limits.cpu_shares,
        cpu_quota: limits.cpu_quota,
        cpu_period: limits.cpu_period,
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
    }
}

pub(crate) fn network(mode: i32) -> Result<Network, BuildError> {
    match NetMode::try_from(mode) {
        Ok(NetMode::Unset) => Ok(Network::Sandbox),
        Ok(NetMode::Host) => Ok(Network::Host),
        Ok(NetMode::None) => Ok(Network::None),
        Err(_) => Err(BuildError::new(
            Kind::Input,
            format!("unknown network mode {mode}"),
        )),
    }
}

pub(crate) fn security(mode: i32) -> Result<Security, BuildError> {
    match SecurityMode::try_from(mode) {
        Ok(SecurityMode::Sandbox) => Ok(Security::Sandbox),
        Ok(SecurityMode::Insecure) => Ok(Security::Insecure),
        Err(_) => Err(BuildError::new(
            Kind::Input,
            format!("unknown security mode {mode}"),
        )),
    }
}

/// Runs the request; its output goes to whoever watches the vertex. What it used is told if that is known and wanted.
pub(super) async fn run(
    worker: &Worker,
    cx: &OpContext,
    request: ExecRequest,
) -> (Result<ExitStatus, ExecError>, Option<StepUsage>) {
    let executor = match worker.executor.get() {
        Ok(executor) => executor,
        Err(error) => return (Err(error), None),
    };
    let is_measured = worker.jobs.are_measured(cx);
    let (usage, mut used) = is_measured.then(oneshot::channel).unzip();
    let before = CpuTimes::now();
    let reporter = worker.jobs.reporter(cx);
    let (stdout, from_stdout) = mpsc::channel(OUTPUT_QUEUE);
    let (stderr, from_stderr) = mpsc::channel(OUTPUT_QUEUE);
    let io = ExecIo {
        stdout: Some(stdout),
        stderr: Some(stderr),
        usage,
        ..ExecIo::default()
    };
    let (status, (), ()) = tokio::join!(
        executor.run(request, io, cx.cancelled.clone()),
        forward(&reporter, 1, from_stdout),
        forward(&reporter, 2, from_stderr),
    );
    let samples = used.as_mut().and_then(|used| used.try_recv().ok());
    let used = samples.map(|samples| StepUsage {
        samples,
        system: CpuTimes::now() - before,
    });
    (status, used)
}

async fn forward(reporter: &Reporter, stream: u8, mut chunks: mpsc::Receiver<Bytes>) {
    while let Some(chunk) = chunks.recv().await {
        reporter.log(stream, &chunk);
    }
}
