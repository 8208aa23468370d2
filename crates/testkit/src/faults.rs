//! A proxy in front of a registry that makes some requests fail, by a schedule that a seed decides or by a test's own rule.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::http::{Head, Message, Pieces};

/// What can happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The connection is reset before the registry hears of the request.
    ResetBefore,
    /// The connection is reset in the middle of the request's body, of which the registry gets the first half.
    ResetInRequest,
    /// The registry does what it is asked to, and the connection is reset before the answer.
    AnswerLost,
    /// The connection is reset in the middle of the answer's body.
    ResetInAnswer,
    /// The connection is closed in the middle of the answer's body.
    Truncated,
    /// The answer comes in small pieces.
    Slow,
    /// The registry fails.
    Status(u16),
    /// The registry is asked too much, and says when to come back.
    RetryAfter,
    /// The answer claims another digest.
    WrongDigest,
    /// One byte of the answer is another.
    WrongBytes,
    /// The answer is one byte short, or claims to be one longer.
    WrongSize,
}

impl Fault {
    const ALL: [Fault; 14] = [
        Fault::ResetBefore,
        Fault::ResetInRequest,
        Fault::AnswerLost,
        Fault::ResetInAnswer,
        Fault::Truncated,
        Fault::Slow,
        Fault::Status(500),
        Fault::Status(502),
        Fault::Status(503),
        Fault::Status(429),
        Fault::RetryAfter,
        Fault::WrongDigest,
        Fault::WrongBytes,
        Fault::WrongSize,
    ];
}

/// The faults that servers and networks have, other than lies about content.
const HONEST: [Fault; 10] = [
    Fault::ResetBefore,
    Fault::ResetInRequest,
    Fault::AnswerLost,
    Fault::ResetInAnswer,
    Fault::Slow,
    Fault::Status(500),
    Fault::Status(502),
    Fault::Status(503),
    Fault::Status(429),
    Fault::RetryAfter,
];

/// Which requests fail.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// One request in so many fails.
    pub one_in: u64,
    /// Another seed fails others.
    pub seed: u64,
}

impl Schedule {
    /// The fault of the request with this number.
    fn of(&self, number: u64) -> Option<Fault> {
        self.among(number, &Fault::ALL)
    }

    /// The same, out of these faults only.
    fn among(&self, number: u64, faults: &[Fault]) -> Option<Fault> {
        let draw = scatter(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let choice = draw / self.one_in;
        draw.is_multiple_of(self.one_in)
            .then(|| faults[(choice % faults.len() as u64) as usize])
    }
}

/// Spreads a number over all 64 bits.
fn scatter(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A running proxy, on plain HTTP and a free loopback port; stopped on drop.
pub struct FaultyProxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// Decides on the fault of a request by its number and first line.
type Rule = dyn Fn(u64, &str) -> Option<Fault> + Send + Sync;

struct Shared {
    upstream: String,
    rule: Box<Rule>,
    traffic: Mutex<Traffic>,
    /// Told of everything that comes through.
    moved: Condvar,
    stopped: AtomicBool,
}

/// What has come through so far.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// The first lines of all requests.
    pub lines: Vec<String>,
    /// Those that were answered.
    pub answered: Vec<String>,
    /// Bytes of bodies that were passed on while they came.
    pub streamed: u64,
    /// How many requests got which fault.
    pub injected: BTreeMap<Fault, u64>,
}

/// How long a test waits for something to come through before it has failed.
const LONGEST: Duration = Duration::from_secs(60);

impl FaultyProxy {
    /// Starts a proxy in front of `upstream`, a registry's `host:port`.
    pub fn start(upstream: &str, schedule: Schedule) -> io::Result<FaultyProxy> {
        FaultyProxy::start_with(upstream, move |number, _| schedule.of(number))
    }

    /// Starts one that resets, delays and refuses, but never says what the server did not say.
    pub fn start_honest(upstream: &str, schedule: Schedule) -> io::Result<FaultyProxy> {
        FaultyProxy::start_with(upstream, move |number, _| schedule.among(number, &HONEST))
    }

    /// Starts one whose faults a rule decides, by the number and first line of each request.
    pub fn start_with(
        upstream: &str,
        rule: impl Fn(u64, &str) -> Option<Fault> + Send + Sync + 'static,
    ) -> io::Result<FaultyProxy> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            rule: Box::new(rule),
            traffic: Mutex::default(),
            moved: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(FaultyProxy {
            port,
            shared,
            accepting: Some(accepting),
        })
    }

    /// `127.0.0.1:port`, the first part of image names.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.shared.traffic().lines.len()
    }

    /// The first lines of them all.
    pub fn lines(&self) -> Vec<String> {
        self.shared.traffic().lines.clone()
    }

    /// How many of them got which fault.
    pub fn injected(&self) -> BTreeMap<Fault, u64> {
        self.shared.traffic().injected.clone()
    }

    /// Blocks until enough has come through.
    ///
    /// # Panics
    /// It does not come.
    pub fn wait_until(&self, enough: impl Fn(&Traffic) -> bool) -> Traffic {
        let traffic = self.shared.traffic();
        let waited = self
            .shared
            .moved
            .wait_timeout_while(traffic, LONGEST, |traffic| !enough(traffic));
        let (traffic, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(enough(&traffic), "it does not come: {traffic:?}");
        traffic.clone()
    }
}

impl Shared {
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<T>(&self, change: impl FnOnce(&mut Traffic) -> T) -> T {
        let noted = change(&mut self.traffic());
        self.moved.notify_all();
        noted
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A client that goes away, or was sent away, is what this is about.
            let _ = serve(&stream, &shared);
            let _ = stream.shutdown(Shutdown::Both);
        });
    }
}

/// Answers one connection's requests until it ends.
fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(head) = Head::read(&mut reader)? {
        let start = head.start.clone();
        let fault = shared.note(|traffic| {
            let fault = (shared.rule)(traffic.lines.len() as u64, &start);
            traffic.lines.push(start.clone());
            if let Some(fault) = fault {
                *traffic.injected.entry(fault).or_default() += 1;
            }
            fault
        });
        if fault == Some(Fault::ResetBefore) {
            return reset(stream);
        }
        if fault.is_none() && head.is_chunked() {
            let pieces = Pieces::of(head, &mut reader);
            let passed = |length| shared.note(|traffic| traffic.streamed += length);
            let reply = pieces.forward(&shared.upstream, passed)?;
            send(stream, &Message::of_reply(reply, false)?.to_bytes(false))?;
        } else {
            let mut request = Message::of_request(head, &mut reader)?;
            if fault == Some(Fault::ResetInRequest) {
                request.cut_in_half();
                let upstream = request.forward(&shared.upstream)?;
                upstream.shutdown(Shutdown::Both)?;
                return reset(stream);
            }
            answer(stream, shared, &request, fault)?;
        }
        shared.note(|traffic| traffic.answered.push(start));
    }
    Ok(())
}

fn answer(
    stream: &TcpStream,
    shared: &Shared,
    request: &Message,
    fault: Option<Fault>,
) -> io::Result<()> {
    let is_head = request.head.start.starts_with("HEAD ");
    let mut reply = match fault {
        Some(Fault::Status(status)) => Message::refusal(status),
        Some(Fault::RetryAfter) => {
            let mut refusal = Message::refusal(429);
            refusal.head.set("retry-after", "1");
            refusal
        }
        _ => Message::of_reply(request.forward(&shared.upstream)?, is_head)?,
    };
    match fault {
        Some(Fault::AnswerLost) => return reset(stream),
        Some(Fault::WrongDigest) => lie_about_digest(&mut reply),
        Some(Fault::WrongBytes) => lie_about_bytes(&mut reply),
        Some(Fault::WrongSize) => lie_about_size(&mut reply),
        _ => {}
    }
    let whole = reply.to_bytes(is_head);
    let middle = whole.len() - if is_head { 0 } else { reply.body.len() / 2 };
    match fault {
        Some(Fault::ResetInAnswer) => {
            send(stream, &whole[..middle.saturating_sub(1)])?;
            reset(stream)
        }
        Some(Fault::Truncated) => {
            send(stream, &whole[..middle.saturating_sub(1)])?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Some(Fault::Slow) => whole.chunks(whole.len() / 8 + 1).try_for_each(|piece| {
            thread::sleep(Duration::from_millis(20));
            send(stream, piece)
        }),
        _ => send(stream, &whole),
    }
}

fn lie_about_digest(reply: &mut Message) {
    const HEADER: &str = "docker-content-digest";
    match reply.head.get(HEADER).map(str::to_owned) {
        Some(digest) => {
            let other: String = digest.chars().rev().take(64).collect();
            reply.head.set(HEADER, &format!("sha256:{other}"));
        }
        None => *reply = Message::refusal(500),
    }
}

fn lie_about_bytes(reply: &mut Message) {
    let middle = reply.body.len() / 2;
    match reply.body.get_mut(middle) {
        Some(byte) => *byte ^= 1,
        None => *reply = Message::refusal(502),
    }
}

fn lie_about_size(reply: &mut Message) {
    if reply.body.pop().is_some() {
        reply.head.remove("content-length");
    } else if let Some(length) = reply
        .head
        .get("content-length")
        .and_then(|text| text.parse::<u64>().ok())
    {
        reply.head.set("content-length", &(length + 1).to_string());
    } else {
        *reply = Message::refusal(503);
    }
}

fn send(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut stream, bytes)
}

/// Ends a connection the hard way.
fn reset(stream: &TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Err(io::ErrorKind::ConnectionReset.into())
}
