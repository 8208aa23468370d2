//! A web server on a loopback port, with files that tests change.

use std::collections::HashMap;
use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

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
        let path = target.split('?').next().unwrap_or_default();
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
