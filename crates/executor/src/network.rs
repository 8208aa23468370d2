//! Network namespaces that outlive no descriptor of them.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rustix::thread::UnshareFlags;

use crate::ExecError;
use crate::kernel::calls;
use crate::run::step::kernel;

/// A network namespace, which exists as long as a clone of this, a socket in it or a process in it does.
#[derive(Debug, Clone)]
pub struct NetworkNamespace(Arc<OwnedFd>);

impl PartialEq for NetworkNamespace {
    /// Whether one is a clone of the other.
    fn eq(&self, other: &NetworkNamespace) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for NetworkNamespace {}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl NetworkNamespace {
    /// Where other processes that see ours find it.
    pub(crate) fn path(&self) -> PathBuf {
        let (process, number) = (std::process::id(), self.0.as_raw_fd());
        PathBuf::from(format!("/proc/{process}/fd/{number}"))
    }
}

/// Makes a network namespace with nothing but a loopback interface, and a socket that listens in it on a free port
/// of 127.0.0.1. The socket is ours: whoever accepts connections on it may himself be in another network.
///
/// Blocks for some milliseconds.
///
/// # Errors
/// The kernel refuses: the process is neither root nor in a user namespace of its own ([`crate::rootless`]).
pub fn isolated_with_listener() -> Result<(NetworkNamespace, TcpListener), ExecError> {
    // A thread of its own, which takes its membership in the namespace with it.
    let made = thread::Builder::new()
        .name("network".to_owned())
        .spawn(make);
    let made = made.and_then(|thread| {
        let panicked = |_| Err(io::Error::other("the thread that makes it panicked"));
        thread.join().unwrap_or_else(panicked)
    });
    made.map_err(|error| kernel("make a network namespace", error))
}

fn make() -> io::Result<(NetworkNamespace, TcpListener)> {
    calls::unshare(UnshareFlags::NEWNET)?;
    calls::loopback_up()?;
    let namespace = File::open("/proc/thread-self/ns/net")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((NetworkNamespace(Arc::new(namespace.into())), listener))
}
