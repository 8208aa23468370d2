//! A web server on a loopback port, with files and git repositories that tests change.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::git;
use crate::http::{Head, Message};

/// A file to serve.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Its content.
    pub body: Vec<u8>,
    /// Headers of the answer, such as `ETag`; conditions of requests are compared with them.
    pub headers: Vec<(&'static str, String)>,
    /// The `Authorization` header without which the answer is 401.
    pub authorization: Option<String>,
    /// What goes wrong.
    pub fault: Fault,
}

/// What may be wrong with an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// So many requests get the status 503 before one is answered.
    Busy(usize),
    /// The connection ends in the middle of the body.
    Cut,
}

impl Page {
    /// A file with nothing said about it.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::default()
        }
    }

    /// With one more header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Repositories to serve as git's own server does.
#[derive(Debug, Clone)]
struct Repositories {
    /// What their paths begin with.
    prefix: String,
    /// Where they are.
    directory: PathBuf,
    /// The `Authorization` header without which the answer is 401.
    authorization: Option<String>,
}

/// A running server; stopped on drop.
#[derive(Debug)]
pub struct WebServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    pages: Mutex<HashMap<String, Page>>,
    repositories: Mutex<Vec<Repositories>>,
    requests: Mutex<Vec<String>>,
}

impl WebServer {
    /// Starts a server without files.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (shared, stopped) = (Arc::<Shared>::default(), Arc::<AtomicBool>::default());
        let (served, is_over) = (shared.clone(), stopped.clone());
        let address = listener.local_addr()?;
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                // A client that goes away is no concern of the server's.
                let _ = served.answer(stream);
            }
        });
        Ok(Self {
            address,
            shared,
            stopped,
            thread: Some(thread),
        })
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Puts a file at a path, in the place of any other.
    pub fn serve(&self, path: &str, page: Page) {
        lock(&self.shared.pages).insert(path.to_owned(), page);
    }

    /// Serves the repositories in a directory at paths below a prefix, such as `/git/`; `authorization` is the header
    /// that opens them.
    pub fn serve_repositories(&self, prefix: &str, directory: &Path, authorization: Option<&str>) {
        lock(&self.shared.repositories).push(Repositories {
            prefix: prefix.to_owned(),
            directory: directory.to_owned(),
            authorization: authorization.map(str::to_owned),
        });
    }

    /// The requests since the last call, as `METHOD path status`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared.requests))
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let Some(head) = Head::read(&mut reader)? else {
            return Ok(());
        };
        let mut words = head.start.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let repositories = lock(&self.repositories).clone();
        let repositories = repositories.iter().find(|it| path.starts_with(&it.prefix));
        if let Some(repositories) = repositories {
            let call = git::Call {
                method: &method,
                path: &path[repositories.prefix.len()..],
                query,
            };
            let message = repositories.answer(&call, head, &mut reader)?;
            let status = message.head.start.split(' ').nth(1).unwrap_or_default();
            lock(&self.requests).push(format!("{method} {target} {status}"));
            return stream.write_all(&message.as_it_is());
        }
        let (status, page) = self.choose(path, &head);
        lock(&self.requests).push(format!("{method} {target} {status}"));
        let mut message = Message::answer(status, &page.headers, page.body);
        if page.fault == Fault::Cut && method == "GET" {
            message.cut_in_half();
            return stream.write_all(&message.as_it_is());
        }
        stream.write_all(&message.to_bytes(method == "HEAD" || status == 304))
    }

    fn choose(&self, path: &str, head: &Head) -> (u16, Page) {
        let mut pages = lock(&self.pages);
        let Some(page) = pages.get_mut(path) else {
            return (404, Page::default());
        };
        if let Fault::Busy(times @ 1..) = page.fault {
            page.fault = Fault::Busy(times - 1);
            return (503, Page::default());
        }
        if page.authorization.is_some()
            && page.authorization.as_deref() != head.get("authorization")
        {
            return (401, Page::default());
        }
        let is_same = |condition: &str, name: &str| {
            let said = page.headers.iter().find(|(it, _)| *it == name);
            head.get(condition)
                .is_some_and(|value| said.is_some_and(|(_, it)| it == value))
        };
        let is_fresh =
            is_same("if-none-match", "ETag") || is_same("if-modified-since", "Last-Modified");
        match is_fresh {
            true => (
                304,
                Page {
                    body: Vec::new(),
                    ..page.clone()
                },
            ),
            false => (200, page.clone()),
        }
    }
}

impl Repositories {
    fn answer(
        &self,
        call: &git::Call<'_>,
        head: Head,
        reader: &mut impl BufRead,
    ) -> io::Result<Message> {
        // A client that is not let in need not say more.
        if self.authorization.is_some()
            && self.authorization.as_deref() != head.get("authorization")
        {
            let asking = ("WWW-Authenticate", "Basic realm=\"git\"".to_owned());
            return Ok(Message::answer(401, &[asking], Vec::new()));
        }
        let request = Message::of_request(head, reader)?;
        git::backend(&self.directory, call, &request)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
