//! Moving bytes between a process's pipes and the caller's channels.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use bytes::{Bytes, BytesMut};
use rustix::pipe::PipeFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::ExecIo;
use crate::kernel::calls;

/// Most bytes of one message.
const CHUNK: usize = 32 * 1024;

/// Tasks that move the bytes.
#[derive(Debug, Default)]
pub(crate) struct Pumps {
    outputs: Vec<JoinHandle<()>>,
    input: Option<JoinHandle<()>>,
}

impl Pumps {
    /// Waits until all that the process wrote has been handed on. Input is of no use any more.
    pub(crate) async fn drain(mut self) {
        if let Some(input) = self.input.take() {
            input.abort();
        }
        for output in self.outputs.drain(..) {
            let _ = output.await;
        }
    }
}

impl Drop for Pumps {
    fn drop(&mut self) {
        for task in self.outputs.iter().chain(&self.input) {
            task.abort();
        }
    }
}

/// Makes pipes for the streams that `io` has and `/dev/null` for the others; returns the process's ends.
pub(crate) fn connect(io: &mut ExecIo) -> io::Result<([OwnedFd; 3], Pumps)> {
    let mut pumps = Pumps::default();
    let null = || -> io::Result<OwnedFd> {
        Ok(File::options()
            .read(true)
            .write(true)
            .open("/dev/null")?
            .into())
    };
    let stdin = match io.stdin.take() {
        None => null()?,
        Some(input) => {
            let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
            let ours = pipe::Sender::from_owned_fd(nonblocking(ours)?)?;
            pumps.input = Some(tokio::spawn(feed(input, ours)));
            theirs
        }
    };
    let mut output = |sender: Option<mpsc::Sender<Bytes>>| -> io::Result<OwnedFd> {
        let Some(sender) = sender else { return null() };
        let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let ours = pipe::Receiver::from_owned_fd(nonblocking(ours)?)?;
        pumps.outputs.push(tokio::spawn(collect(ours, sender)));
        Ok(theirs)
    };
    let stdout = output(io.stdout.take())?;
    let stderr = output(io.stderr.take())?;
    Ok(([stdin, stdout, stderr], pumps))
}

/// Connects the master end of a terminal.
pub(crate) fn connect_terminal(master: OwnedFd, io: &mut ExecIo) -> io::Result<Pumps> {
    let master = nonblocking(master)?;
    let mut pumps = Pumps::default();
    if let Some(input) = io.stdin.take() {
        pumps.input = Some(tokio::spawn(feed_terminal(
            input,
            calls::watch(master.try_clone()?)?,
        )));
    }
    pumps.outputs.push(tokio::spawn(collect_terminal(
        calls::watch(master)?,
        io.stdout.take(),
    )));
    Ok(pumps)
}

fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

async fn feed(mut input: Box<dyn AsyncRead + Send + Unpin>, mut pipe: pipe::Sender) {
    // A process that does not read its input to the end is no error.
    let _ = tokio::io::copy(&mut input, &mut pipe).await;
    let _ = pipe.shutdown().await;
}

async fn collect(mut pipe: pipe::Receiver, sender: mpsc::Sender<Bytes>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        match pipe.read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        // Nobody listening is no reason to break the process's pipe: read on and forget.
        let _ = sender.send(buffer.split().freeze()).await;
    }
}

async fn feed_terminal(mut input: Box<dyn AsyncRead + Send + Unpin>, master: AsyncFd<OwnedFd>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = input.read(&mut buffer).await {
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let Ok(mut ready) = master.writable().await else {
                return;
            };
            match ready.try_io(|fd| Ok(rustix::io::write(fd.as_fd(), rest)?)) {
                Ok(Ok(written)) => rest = rest.get(written..).unwrap_or_default(),
                Ok(Err(_)) => return,
                Err(_would_block) => {}
            }
        }
    }
}

async fn collect_terminal(master: AsyncFd<OwnedFd>, sender: Option<mpsc::Sender<Bytes>>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let Ok(mut ready) = master.readable().await else {
            return;
        };
        match ready.try_io(|fd| Ok(rustix::io::read(fd.as_fd(), buffer.as_mut_slice())?)) {
            Ok(Ok(length @ 1..)) => {
                if let (Some(sender), Some(read)) = (&sender, buffer.get(..length)) {
                    let _ = sender.send(Bytes::copy_from_slice(read)).await;
                }
            }
            // EIO is how a terminal says that nobody holds its other end any more.
            Ok(_) => return,
            Err(_would_block) => {}
        }
    }
}
