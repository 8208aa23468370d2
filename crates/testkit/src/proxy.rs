//! A proxy before a unix socket, which counts what clients send.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

/// What to do when a request begins, before the server gets it.
type Hook = Box<dyn FnMut() + Send>;

/// A running proxy; stopped on drop.
#[derive(Debug)]
pub struct Proxy {
    dir: TempDir,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The first line of each connection and the bytes that the client sent.
    requests: Mutex<Vec<(String, u64)>>,
    hook: Mutex<Option<(String, Hook)>>,
    is_over: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Proxy {
    /// Starts a proxy before the server at `target`.
    pub fn start(target: &Path) -> io::Result<Proxy> {
        let dir = tempfile::Builder::new().prefix("kiln-proxy-").tempdir()?;
        let listener = UnixListener::bind(dir.path().join("sock"))?;
        let shared = Arc::new(Shared::default());
        let (target, kept) = (target.to_owned(), shared.clone());
        let accepting = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if kept.is_over.load(Ordering::Acquire) {
                    return;
                }
                let (target, kept) = (target.clone(), kept.clone());
                thread::spawn(move || pass_on(client, &target, &kept));
            }
        });
        Ok(Proxy {
            dir,
            shared,
            accepting: Some(accepting),
        })
    }

    /// Where the proxy listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// How many bytes were sent in each request whose first line begins so, since this was asked before.
    pub fn take(&self, start: &str) -> Vec<u64> {
        let mut requests = lock(&self.shared.requests);
        let taken = requests.iter().filter(|(line, _)| line.starts_with(start));
        let taken = taken.map(|(_, bytes)| *bytes).collect();
        requests.clear();
        taken
    }

    /// Does something once, before a request that begins so is passed on.
    pub fn before(&self, start: &str, hook: impl FnMut() + Send + 'static) {
        *lock(&self.shared.hook) = Some((start.to_owned(), Box::new(hook)));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        let _ = UnixStream::connect(self.socket());
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes on one connection. What is sent is written down before the server can answer to its end.
fn pass_on(mut client: UnixStream, target: &Path, shared: &Shared) {
    let Ok(mut server) = UnixStream::connect(target) else {
        return;
    };
    let (Ok(mut back), Ok(mut answers)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 << 10];
    let mut place = None;
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        let place = *place.get_or_insert_with(|| shared.begin(&buffer[..length]));
        lock(&shared.requests)
            .get_mut(place)
            .into_iter()
            .for_each(|request| request.1 += length as u64);
        if server.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
}

impl Shared {
    /// Notes a request; answers its place.
    fn begin(&self, bytes: &[u8]) -> usize {
        let text = String::from_utf8_lossy(bytes);
        let line = text.lines().next().unwrap_or_default().to_owned();
        let mut hook = lock(&self.hook);
        if let Some((_, mut act)) = hook.take_if(|(start, _)| line.starts_with(&*start)) {
            act();
        }
        drop(hook);
        let mut requests = lock(&self.requests);
        requests.push((line, 0));
        requests.len() - 1
    }
}
