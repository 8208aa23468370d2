//! Becoming root of a user namespace of one's own, for engines that are not root.
//!
//! Everything an engine does, from unpacking layers with their owners to mounting, needs the same ids and
//! rights as its steps. So it is not each step that gets a user namespace but the process, once, at its start.

use std::fs;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

use rustix::mount::MountPropagationFlags;
use rustix::thread::{CapabilitySet, UnshareFlags};
use thiserror::Error;

use crate::kernel::calls;

/// What [`enter`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// Nothing: the process is root already.
    Already,
    /// A namespace with the ranges of ids that `/etc/subuid` and `/etc/subgid` give the user.
    Ranges,
    /// A namespace in which there is root and nobody else: images with other owners cannot be unpacked.
    SingleId,
}

/// Why there is no user namespace to be had.
#[derive(Debug, Error)]
pub enum RootlessError {
    /// It is too late.
    #[error("a user namespace can only be entered before the process starts threads (it has {0})")]
    Threads(usize),
    /// The kernel or its configuration forbids it.
    #[error(
        "not root, and this machine allows no user namespaces to others ({0}); run as root, or have an \
         administrator allow them: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1 or \
         kernel.apparmor_restrict_unprivileged_userns=0"
    )]
    Forbidden(io::Error),
    /// The ids of the user could not be mapped.
    #[error(
        "{program} failed: {message}; check the lines of user {user} in /etc/subuid and /etc/subgid"
    )]
    Mapping {
        /// The setuid helper.
        program: String,
        /// What it said.
        message: String,
        /// Name or number.
        user: String,
    },
}

/// Makes this process root in a user namespace, unless it may mount already. To be called first thing in
/// `main`, before any thread is started.
pub fn enter() -> Result<Entered, RootlessError> {
    let capable = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    if capable {
        return Ok(Entered::Already);
    }
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(RootlessError::Threads(threads));
    }
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let user = user_name(uid);
    let uids = sub_ids("/etc/subuid", &user, uid);
    let gids = sub_ids("/etc/subgid", &user, uid);
    // Started now, outside: from inside they could not use their rights.
    let helpers = match (&uids[..], &gids[..]) {
        ([], _) | (_, []) => None,
        _ => Helper::start("newuidmap", uid, &uids).zip(Helper::start("newgidmap", gid, &gids)),
    };

    let flags =
        UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    calls::unshare(flags).map_err(|error| RootlessError::Forbidden(error.into()))?;
    let entered = match helpers {
        Some((newuidmap, newgidmap)) => {
            newuidmap.finish(&user)?;
            newgidmap.finish(&user)?;
            Entered::Ranges
        }
        None => {
            map_single_id(uid, gid).map_err(RootlessError::Forbidden)?;
            Entered::SingleId
        }
    };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)
        .map_err(|error| RootlessError::Forbidden(error.into()))?;
    Ok(entered)
}

fn map_single_id(uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// `newuidmap` or `newgidmap`, waiting for the namespace to exist.
struct Helper {
    program: &'static str,
    child: Child,
}

impl Helper {
    /// Starts the helper if it is installed.
    fn start(program: &'static str, own: u32, ranges: &[(u32, u32)]) -> Option<Helper> {
        let installed = Command::new("/bin/sh")
            .args(["-c", "command -v \"$0\"", program])
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !installed {
            return None;
        }
        // Waits for the word and becomes the helper.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read go && exec \"$0\" \"$@\"", program]);
        command
            .arg(std::process::id().to_string())
            .args(["0", &own.to_string(), "1"]);
        let mut next = 1;
        for (first, count) in ranges {
            command.args([next.to_string(), first.to_string(), count.to_string()]);
            next += count;
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        Some(Helper { program, child })
    }

    fn finish(mut self, user: &str) -> Result<(), RootlessError> {
        let told = self
            .child
            .stdin
            .take()
            .map_or(Ok(()), |mut stdin| stdin.write_all(b"go\n"));
        let output = told.and_then(|()| self.child.wait_with_output());
        let message = match output {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Err(RootlessError::Mapping {
            program: self.program.to_owned(),
            message,
            user: user.to_owned(),
        })
    }
}

/// The user's name, or the number where there is none.
fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd.lines().find(|line| {
        line.split(':')
            .nth(2)
            .is_some_and(|id| id.parse() == Ok(uid))
    });
    line.and_then(|line| line.split(':').next())
        .map_or_else(|| uid.to_string(), str::to_owned)
}

/// The ranges, first id and count, that a file such as `/etc/subuid` gives a user.
fn sub_ids(path: &str, user: &str, uid: u32) -> Vec<(u32, u32)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (owner == user || owner.parse() == Ok(uid)).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}
