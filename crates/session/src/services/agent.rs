//! What a daemon may ask of an SSH agent: to list keys and to sign. Adding, removing and
//! locking keys are the user's own business, so those requests are refused here.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;

/// `SSH_AGENT_FAILURE`, with its length.
const FAILURE: &[u8] = &[0, 0, 0, 1, 5];

/// More than any request or answer has; agents themselves take 256 KiB.
const LONGEST: usize = 1 << 20;

/// Passes requests on one by one, until either side ends the connection.
pub(super) async fn proxy(
    mut requests: impl AsyncRead + Unpin,
    mut agent: impl AsyncRead + AsyncWrite + Unpin,
    answers: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    while let Some(request) = read_message(&mut requests).await? {
        let answer = match request.get(size_of::<u32>()) {
            Some(&(REQUEST_IDENTITIES | SIGN_REQUEST)) => {
                agent.write_all(&request).await?;
                read_message(&mut agent).await?
            }
            _ => Some(Bytes::from_static(FAILURE)),
        };
        let Some(answer) = answer else { break };
        if answers.send(answer).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// One message with its length before it; `None` at the end.
async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
    let length = match stream.read_u32().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = length as usize;
    if size > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("message of {size} bytes to or from an SSH agent"),
        ));
    }
    let mut message = BytesMut::zeroed(size_of::<u32>() + size);
    message[..size_of::<u32>()].copy_from_slice(&length.to_be_bytes());
    stream.read_exact(&mut message[size_of::<u32>()..]).await?;
    Ok(Some(message.freeze()))
}
