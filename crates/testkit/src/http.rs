//! As much of HTTP/1.1 as a proxy for tests needs: whole messages in memory.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// First line and headers.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) start: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads until the empty line; `None` at the end of the stream.
    pub(crate) fn read(stream: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut start = String::new();
        if stream.read_line(&mut start)? == 0 {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((key, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((key.to_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Head {
            start: start.trim_end().to_owned(),
            headers,
        }))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Whether the body comes in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.get("transfer-encoding") == Some("chunked")
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(key, _)| key != name);
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// A request or an answer.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// A request whose head has been read.
    pub(crate) fn of_request(head: Head, stream: &mut impl BufRead) -> io::Result<Message> {
        let mut body = Vec::new();
        if head.is_chunked() {
            while read_chunk(stream, &mut body)? {}
        } else if let Some(length) = head
            .get("content-length")
            .and_then(|text| text.parse().ok())
        {
            stream.take(length).read_to_end(&mut body)?;
            if body.len() as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Message { head, body })
    }

    /// An answer that ends with its connection.
    pub(crate) fn of_reply(stream: TcpStream, is_head: bool) -> io::Result<Message> {
        let mut stream = BufReader::new(stream);
        let head = Head::read(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut body = Vec::new();
        if !is_head {
            stream.read_to_end(&mut body)?;
        }
        Ok(Message { head, body })
    }

    /// An answer in the form of a registry's errors.
    pub(crate) fn refusal(status: u16) -> Message {
        let body = r#"{"errors":[{"code":"UNAVAILABLE","message":"injected fault"}]}"#;
        Message {
            head: Head {
                start: format!("HTTP/1.1 {status} Injected"),
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            },
            body: body.into(),
        }
    }

    /// An answer of a server; its connection ends with it.
    pub(crate) fn answer(status: u16, headers: &[(&str, String)], body: Vec<u8>) -> Message {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let close = ("connection".to_owned(), "close".to_owned());
        Message {
            head: Head {
                start: format!("HTTP/1.1 {status} Status"),
                headers: headers.chain([close]).collect(),
            },
            body,
        }
    }

    /// The bytes of head and body, whether they fit or not.
    pub(crate) fn as_it_is(&self) -> Vec<u8> {
        to_bytes(&self.head, &self.body)
    }

    /// Leaves half of the body, and the head that announces all of it.
    pub(crate) fn cut_in_half(&mut self) {
        let length = self.body.len().to_string();
        self.head.set("content-length", &length);
        self.body.truncate(self.body.len() / 2);
    }

    /// Sends a request on. In HTTP/1.0, so that the answer is not cut into chunks.
    pub(crate) fn forward(&self, upstream: &str) -> io::Result<TcpStream> {
        let mut head = self.head.clone();
        head.start = head.start.replace("HTTP/1.1", "HTTP/1.0");
        head.remove("connection");
        head.remove("transfer-encoding");
        if head.get("content-length").is_none() && !self.body.is_empty() {
            head.set("content-length", &self.body.len().to_string());
        }
        let mut stream = TcpStream::connect(upstream)?;
        stream.write_all(&to_bytes(&head, &self.body))?;
        Ok(stream)
    }

    /// An answer as it goes over the wire.
    pub(crate) fn to_bytes(&self, is_head: bool) -> Vec<u8> {
        let mut head = self.head.clone();
        head.start = head.start.replace("HTTP/1.0", "HTTP/1.1");
        head.remove("connection");
        if is_head {
            return to_bytes(&head, &[]);
        }
        if !head.start.contains(" 204 ") {
            head.set("content-length", &self.body.len().to_string());
        }
        to_bytes(&head, &self.body)
    }
}

/// A request whose body comes in chunks, perhaps slowly.
pub(crate) struct Pieces<'a, R> {
    head: Head,
    stream: &'a mut R,
}

impl<'a, R: BufRead> Pieces<'a, R> {
    pub(crate) fn of(head: Head, stream: &'a mut R) -> Self {
        Self { head, stream }
    }

    /// Sends each chunk on when it comes, and tells of its length.
    pub(crate) fn forward(mut self, upstream: &str, passed: impl Fn(u64)) -> io::Result<TcpStream> {
        self.head.set("connection", "close");
        let mut to = TcpStream::connect(upstream)?;
        to.write_all(&to_bytes(&self.head, &[]))?;
        loop {
            let mut chunk = Vec::new();
            let is_more = read_chunk(self.stream, &mut chunk)?;
            to.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            to.write_all(&chunk)?;
            to.write_all(b"\r\n")?;
            if !is_more {
                return Ok(to);
            }
            passed(chunk.len() as u64);
        }
    }
}

fn to_bytes(head: &Head, body: &[u8]) -> Vec<u8> {
    let mut text = format!("{}\r\n", head.start);
    for (key, value) in &head.headers {
        text += &format!("{key}: {value}\r\n");
    }
    text += "\r\n";
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads one chunk of a body; false after the last.
fn read_chunk(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let length = u64::from_str_radix(line.trim_end(), 16)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let before = body.len();
    stream.by_ref().take(length).read_to_end(body)?;
    if (body.len() - before) as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    stream.read_line(&mut String::new())?;
    Ok(length > 0)
}
