//! How a connection to a daemon is made.

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::command::{CommandStream, LastWords};
use crate::error::chain;
use crate::tls::Loaded;
use crate::{Address, ClientError};

/// Bytes under way in one call; context and results travel in such streams.
const STREAM_WINDOW: u32 = 4 << 20;

/// Bytes under way in all calls together.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Trailers carry the details of an error, with the source file that it is about.
const TRAILERS_LIMIT: u32 = 16 << 20;

/// How often a silent connection is tried, so that a dead peer is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A byte stream to a daemon.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects now; the channel connects again by itself should that be needed.
pub(crate) async fn channel(
    address: &Address,
    tls: Option<Loaded>,
    words: &LastWords,
) -> Result<Channel, ClientError> {
    let failed = |reason: String| ClientError::Connect {
        address: address.to_string(),
        reason: words.get().unwrap_or(reason),
    };
    let endpoint = Endpoint::from(uri(address, tls.as_ref()).map_err(failed)?)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(TRAILERS_LIMIT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| failed(chain(&error)))?;
    let target = (address.clone(), tls, words.clone());
    let connector = service_fn(move |_: Uri| {
        let (address, tls, words) = target.clone();
        async move { dial(&address, tls.as_ref(), words).await.map(TokioIo::new) }
    });
    let connected = endpoint.connect_with_connector(connector).await;
    connected.map_err(|error| failed(chain(&error)))
}

/// The authority that calls name: the certificate's name or the host. The
/// scheme is always plain, because TLS is the connector's work.
fn uri(address: &Address, tls: Option<&Loaded>) -> Result<Uri, String> {
    let authority = match (address, tls) {
        (_, Some(tls)) => tls.name.clone(),
        (Address::Tcp { .. }, None) => address.to_string().replacen("tcp://", "", 1),
        (Address::Unix(_) | Address::Command { .. }, None) => "localhost".to_owned(),
    };
    let authority = match authority.contains(':') && authority.parse::<std::net::Ipv6Addr>().is_ok()
    {
        true => format!("[{authority}]"),
        false => authority,
    };
    let uri = format!("http://{authority}").parse::<Uri>();
    uri.map_err(|error| format!("{authority:?} cannot be named in calls: {error}"))
}

async fn dial(
    address: &Address,
    tls: Option<&Loaded>,
    words: LastWords,
) -> std::io::Result<Box<dyn Stream>> {
    let stream: Box<dyn Stream> = match address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Address::Command {
            program, arguments, ..
        } => Box::new(CommandStream::start(program, arguments, words)?),
    };
    let Some(tls) = tls else {
        return Ok(stream);
    };
    let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
    let secured = connector.connect(tls.server.clone(), stream).await?;
    Ok(Box::new(secured))
}

/// Whether something accepts connections on a unix socket. Blocks only as
/// long as the kernel does, which for a local socket is not at all.
pub fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}
