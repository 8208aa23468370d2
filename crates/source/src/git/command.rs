//! Running git with nothing of the machine's configuration: no files of it, no prompts, no hooks, no helpers.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kiln_registry::ProxySettings;
use kiln_store::cache_mount::CacheMount;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::access::Access;
use super::error::GitError;
use super::output::{GitLog, Kept, last_of};

/// What git answers: a list of the files of a large repository fits.
const MOST_ANSWERED: usize = 64 << 20;
/// What is kept of its complaints: the last of them say why it failed.
const MOST_COMPLAINED: usize = 16 << 10;
/// How long git may take to put things in order when it is stopped.
const GRACE: Duration = Duration::from_secs(10);

/// Files get the modes 0644 and 0755, whatever the process's own mask is.
const WITH_USUAL_MASK: &str = r#"umask 022 && exec git "$@""#;

/// Settings that hold for every run.
const SETTINGS: [(&str, &str); 12] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("core.logAllRefUpdates", "false"),
    ("credential.helper", ""),
    ("init.defaultBranch", "master"),
    ("init.templateDir", ""),
    ("advice.detachedHead", "false"),
    ("checkout.workers", "0"),
    ("submodule.recurse", "false"),
    // What runs on in the background would write to a repository that is no longer ours.
    ("gc.autoDetach", "false"),
    ("maintenance.autoDetach", "false"),
];

/// How a source runs git.
#[derive(Clone)]
pub(super) struct Git {
    /// The repository as errors name it.
    pub(super) remote: String,
    pub(super) access: Arc<Access>,
    pub(super) proxies: ProxySettings,
    pub(super) log: GitLog,
}

/// What git may talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing but the repository it is in.
    Here,
    /// Repositories of this machine, which are ours.
    Local,
    /// Servers.
    Network,
}

impl Reach {
    fn protocols(self) -> &'static str {
        match self {
            Self::Here => "",
            Self::Local => "file",
            Self::Network => "http:https:ssh:git",
        }
    }
}

/// One run of git.
pub(super) struct Run<'a> {
    git: &'a Git,
    subcommand: &'static str,
    reach: Reach,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    directory: Option<PathBuf>,
    repository: Option<Arc<CacheMount>>,
    shows_answer: bool,
}

/// Why git failed, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("git stderr:\n{stderr}")]
pub struct Failed {
    /// The end of what it said.
    pub stderr: String,
}

impl Git {
    pub(super) fn run(&self, subcommand: &'static str) -> Run<'_> {
        Run {
            git: self,
            subcommand,
            reach: Reach::Here,
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            repository: None,
            shows_answer: false,
        }
    }

    pub(super) fn failed(&self, action: &'static str, failed: Failed) -> GitError {
        GitError::Failed {
            action,
            remote: self.remote.clone(),
            failed,
        }
    }
}

impl<'a> Run<'a> {
    pub(super) fn reaching(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// In a repository.
    pub(super) fn git_dir(mut self, directory: &Path) -> Self {
        self.environment.push(("GIT_DIR", directory.into()));
        self
    }

    /// In a repository that must not be given to others while git runs.
    pub(super) fn holding(mut self, repository: &Arc<CacheMount>) -> Self {
        self.repository = Some(repository.clone());
        self.git_dir(repository.dir())
    }

    /// With files in a directory.
    pub(super) fn work_tree(mut self, directory: &Path) -> Self {
        self.environment.push(("GIT_WORK_TREE", directory.into()));
        self.directory = Some(directory.to_owned());
        self
    }

    /// With its list of files in a file of its own.
    pub(super) fn index(mut self, file: &Path) -> Self {
        self.environment.push(("GIT_INDEX_FILE", file.into()));
        self
    }

    pub(super) fn args<I>(mut self, arguments: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The user sees the answer, too.
    pub(super) fn showing(mut self) -> Self {
        self.shows_answer = true;
        self
    }

    /// Runs git; what it answers if it works, or what it says if it does not.
    pub(super) async fn outcome(self) -> Result<Result<Vec<u8>, Failed>, GitError> {
        let child = self.command().spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GitError::NoProgram,
            _ => GitError::Run(error),
        })?;
        let work = Work {
            log: self.git.log.clone(),
            shows_answer: self.shows_answer,
            access: self.git.access.clone(),
            repository: self.repository.clone(),
        };
        // Whoever waits may go away: git is then stopped before anybody else gets the repository.
        let (waiting, gone) = oneshot::channel();
        let done = tokio::spawn(work.finish(child, gone)).await;
        drop(waiting);
        let ended = done.map_err(|error| GitError::Run(io::Error::other(error)))??;
        match ended.status.code() {
            Some(0) if ended.answer.is_cut => Err(GitError::TooLong {
                subcommand: self.subcommand,
                remote: self.git.remote.clone(),
                limit: MOST_ANSWERED,
            }),
            Some(0) => Ok(Ok(ended.answer.bytes)),
            // Of the shell: there is no such program.
            Some(127) => Err(GitError::NoProgram),
            _ => Ok(Err(Failed::new(&ended))),
        }
    }

    /// The same with a failure as error: `action` says what was tried with the repository.
    pub(super) async fn must(self, action: &'static str) -> Result<Vec<u8>, GitError> {
        let git = self.git;
        let outcome = self.outcome().await?;
        outcome.map_err(|failed| git.failed(action, failed))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", WITH_USUAL_MASK, "git", self.subcommand])
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", path);
        }
        for (name, value) in [
            ("HOME", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ALLOW_PROTOCOL", self.reach.protocols()),
            ("LC_ALL", "C"),
        ] {
            command.env(name, value);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let access = match self.reach {
            Reach::Network => Some(&self.git.access),
            Reach::Here | Reach::Local => None,
        };
        configure(&mut command, access.map_or(&[], |access| access.settings()));
        if let Some(access) = access {
            command.envs(access.environment());
            command.envs(proxy_variables(&self.git.proxies));
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

/// Settings go by the environment: command lines can be read by anybody on the machine.
fn configure(command: &mut Command, more: &[(String, String)]) {
    let more = more
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let mut count = 0;
    for (key, value) in SETTINGS.into_iter().chain(more) {
        command.env(format!("GIT_CONFIG_KEY_{count}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    command.env("GIT_CONFIG_COUNT", count.to_string());
}

fn proxy_variables(proxies: &ProxySettings) -> impl Iterator<Item = (&'static str, &str)> {
    let proxies = [
        ("http_proxy", &proxies.http),
        ("https_proxy", &proxies.https),
        ("no_proxy", &proxies.no_proxy),
    ];
    proxies
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
}

/// What goes on while git runs.
struct Work {
    log: GitLog,
    shows_answer: bool,
    /// Agents and files that git uses.
    access: Arc<Access>,
    repository: Option<Arc<CacheMount>>,
}

struct Ended {
    status: ExitStatus,
    answer: Kept,
    complaint: Kept,
}

impl Work {
    async fn finish(
        self,
        mut child: Child,
        gone: oneshot::Receiver<()>,
    ) -> Result<Ended, GitError> {
        let (answer, complaint) = (child.stdout.take(), child.stderr.take());
        let (Some(answer), Some(complaint)) = (answer, complaint) else {
            return Err(GitError::Run(io::ErrorKind::BrokenPipe.into()));
        };
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let reading = async {
            let answer = last_of(answer, MOST_ANSWERED, |piece| {
                if self.shows_answer {
                    (self.log)(1, piece);
                }
            });
            let complaint = last_of(complaint, MOST_COMPLAINED, |piece| (self.log)(2, piece));
            let (answer, complaint) = tokio::try_join!(answer, complaint)?;
            let status = child.wait().await?;
            Ok::<_, io::Error>(Ended {
                status,
                answer,
                complaint,
            })
        };
        tokio::pin!(reading);
        let ended = tokio::select! {
            ended = &mut reading => ended.map_err(GitError::Run),
            _ = gone => {
                stop(group, Signal::TERM);
                if tokio::time::timeout(GRACE, &mut reading).await.is_err() {
                    stop(group, Signal::KILL);
                    let _ended = reading.await;
                }
                Err(GitError::Stopped)
            }
        };
        // Only now others may have the repository, and what opens it may go.
        drop((self.access, self.repository));
        ended
    }
}

fn stop(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It may have ended by itself.
        let _ = kill_process_group(group, signal);
    }
}

impl Failed {
    fn new(ended: &Ended) -> Self {
        let said = String::from_utf8_lossy(&ended.complaint.bytes);
        let mut stderr = said.trim_end().to_owned();
        if ended.complaint.is_cut {
            stderr.insert(0, '…');
        }
        if ended.status.code().is_none() {
            stderr += &format!("\ngit: {}", ended.status);
        }
        Self { stderr }
    }

    /// Whether git says one of these.
    pub(super) fn says(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.stderr.contains(text))
    }

    /// What to try.
    pub(super) fn hint(&self) -> Option<&'static str> {
        let is_denied = [
            "could not read Username",
            "could not read Password",
            "Authentication failed",
            "Permission denied",
            "Repository not found",
            "returned error: 403",
            "returned error: 401",
        ];
        if self.says(&["Host key verification failed"]) {
            return Some("the server's key is not among the known hosts (git.knownsshhosts)");
        }
        if self.says(&["Permission denied (publickey"]) {
            return Some("give the build a key that may read the repository with --ssh default");
        }
        self.says(&is_denied).then_some(
            "if it is private, give the build a token with --secret id=GIT_AUTH_TOKEN,src=FILE, or GIT_AUTH_TOKEN.HOST for one host",
        )
    }

    /// Whether the way to the server is broken.
    pub(super) fn is_of_network(&self) -> bool {
        self.says(&[
            "Could not resolve host",
            "Failed to connect",
            "Couldn't connect",
            "Connection refused",
            "Connection timed out",
            "Connection reset",
            "unable to connect",
            "The remote end hung up",
            "returned error: 5",
        ])
    }
}
