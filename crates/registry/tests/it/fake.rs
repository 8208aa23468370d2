//! A loopback HTTP server that answers as a test wants, faults included.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
}

/// How the answer ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Whole,
    /// Close after so many bytes of the body.
    Close(usize),
    /// Reset after so many bytes of the body.
    Reset(usize),
    /// Say nothing more after so many bytes of the body.
    Hang(usize),
    /// Close without any answer.
    Drop,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            end: End::Whole,
        }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::new(200)
        }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404)
    }

    pub(crate) fn dropped() -> Self {
        Self {
            end: End::Drop,
            ..Self::new(200)
        }
    }

    pub(crate) fn redirect(status: u16, to: &str) -> Self {
        Self::new(status).header("location", to)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(self, body: &str) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Self {
            body: body.into(),
            ..Self::new(status)
        }
    }

    /// A manifest with the headers a registry sends.
    pub(crate) fn manifest(bytes: &[u8]) -> Self {
        Self::ok(bytes)
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .header("docker-content-digest", crate::digest_of(bytes).as_ref())
    }

    /// The part of a blob that was asked for.
    pub(crate) fn part(seen: &Seen, bytes: &[u8]) -> Self {
        match seen
            .header("range")
            .and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        {
            None => Self::ok(bytes),
            Some(start) => {
                let start: usize = start;
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                Self {
                    body: bytes[start..].to_vec(),
                    ..Self::new(206)
                }
                .header("content-range", &range)
            }
        }
    }

    pub(crate) fn close_after(self, bytes: usize) -> Self {
        Self {
            end: End::Close(bytes),
            ..self
        }
    }

    pub(crate) fn reset_after(self, bytes: usize) -> Self {
        Self {
            end: End::Reset(bytes),
            ..self
        }
    }

    pub(crate) fn hang_after(self, bytes: usize) -> Self {
        Self {
            end: End::Hang(bytes),
            ..self
        }
    }
}

type Handler = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

/// The server; it stops with the test's runtime.
pub(crate) struct Fake {
    pub(crate) host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    /// Starts a server. The handler gets each request and its number.
    pub(crate) async fn start(
        handler: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with_host(|_| handler).await
    }

    /// Starts a server at an address other than the usual.
    pub(crate) async fn start_at(
        address: &str,
        handler: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::listen(address, |_| handler).await
    }

    /// Starts a server whose answers need to know its own address.
    pub(crate) async fn start_with_host<H: Fn(&Seen, usize) -> Reply + Send + Sync + 'static>(
        handler: impl FnOnce(&str) -> H,
    ) -> Self {
        Self::listen("127.0.0.1:0", handler).await
    }

    async fn listen<H: Fn(&Seen, usize) -> Reply + Send + Sync + 'static>(
        address: &str,
        handler: impl FnOnce(&str) -> H,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("bind");
        let host = listener.local_addr().expect("address").to_string();
        let handler: Arc<Handler> = Arc::new(handler(&host));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        tokio::spawn(accept(listener, handler, Arc::clone(&seen)));
        Self { host, seen }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("lock").clone()
    }

    /// Method, path and query of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

async fn accept(listener: TcpListener, handler: Arc<Handler>, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
        tokio::spawn(async move {
            // A client that goes away is what some tests are about.
            let _ = serve(stream, handler.as_ref(), &seen).await;
        });
    }
}

async fn serve(
    stream: TcpStream,
    handler: &Handler,
    seen: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        let number = {
            let mut seen = seen.lock().expect("lock");
            seen.push(request.clone());
            seen.len() - 1
        };
        let reply = handler(&request, number);
        write_reply(stream.get_mut(), &request, reply).await?;
    }
    Ok(())
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((key, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((key.to_lowercase(), value.to_owned()));
    }
    let mut seen = Seen {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    if let Some(length) = seen
        .header("content-length")
        .and_then(|text| text.parse().ok())
    {
        seen.body = vec![0; length];
        stream.read_exact(&mut seen.body).await?;
    } else if seen.header("transfer-encoding") == Some("chunked") {
        while read_chunk(stream, &mut seen.body).await? {}
    }
    Ok(Some(seen))
}

/// Reads one chunk of a body; false after the last.
async fn read_chunk(
    stream: &mut BufReader<TcpStream>,
    body: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let length = usize::from_str_radix(line.trim_end(), 16);
    let length = length.map_err(|_| std::io::ErrorKind::InvalidData)?;
    // With the end of its line.
    let start = body.len();
    body.resize(start + length + 2, 0);
    stream.read_exact(&mut body[start..]).await?;
    body.truncate(start + length);
    Ok(length > 0)
}

async fn write_reply(stream: &mut TcpStream, request: &Seen, reply: Reply) -> std::io::Result<()> {
    if reply.end == End::Drop {
        return Err(std::io::ErrorKind::ConnectionAborted.into());
    }
    let has_length = reply
        .headers
        .iter()
        .any(|(name, _)| name == "content-length" || name == "transfer-encoding");
    let mut head = format!("HTTP/1.1 {} Fake\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !has_length {
        head += &format!("content-length: {}\r\n", reply.body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let part = |count: usize| &reply.body[..count.min(reply.body.len())];
    match reply.end {
        End::Whole | End::Drop => stream.write_all(&reply.body).await,
        End::Close(count) => {
            stream.write_all(part(count)).await?;
            stream.flush().await?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        End::Reset(count) => {
            stream.write_all(part(count)).await?;
            stream.flush().await?;
            stream.set_zero_linger()?;
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
        End::Hang(count) => {
            stream.write_all(part(count)).await?;
            std::future::pending().await
        }
    }
}
