//! Bytes over a stream of messages.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kiln_protocol::control::BytesMessage;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;
use tokio_util::sync::{CancellationToken, DropGuard, PollSender, WaitForCancellationFutureOwned};
use tonic::Status;

use super::PIECE;

/// One end of the tunnel. It is closed by its token, by either side's end of the
/// stream, and when it is dropped; each of them cancels the token.
pub(crate) struct TunnelIo {
    reader: StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>,
    writer: PollSender<BytesMessage>,
    closed: CancellationToken,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    _closes: DropGuard,
}

impl TunnelIo {
    pub(crate) fn new(
        inbound: BoxStream<'static, Result<BytesMessage, Status>>,
        outbound: mpsc::Sender<BytesMessage>,
        closed: CancellationToken,
    ) -> Self {
        let bytes = inbound
            .map(|message| {
                message
                    .map(|message| message.data)
                    .map_err(io::Error::other)
            })
            .take_until(closed.clone().cancelled_owned());
        Self {
            reader: StreamReader::new(bytes.boxed()),
            writer: PollSender::new(outbound),
            closing: Box::pin(closed.clone().cancelled_owned()),
            _closes: closed.clone().drop_guard(),
            closed,
        }
    }

    /// Waits for room for one more message.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = ready!(self.writer.poll_reserve(cx));
        if room.is_err() {
            self.closed.cancel();
        }
        Poll::Ready(room.map_err(|_| io::ErrorKind::BrokenPipe.into()))
    }

    fn send(&mut self, data: Bytes) -> io::Result<usize> {
        let length = data.len();
        let sent = self.writer.send_item(BytesMessage { data });
        sent.map(|()| length)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for TunnelIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.reader).poll_read(cx, buffer));
        let is_end = buffer.filled().len() == before && buffer.capacity() > before;
        if read.is_err() || is_end {
            self.closed.cancel();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        let piece = &bytes[..bytes.len().min(PIECE)];
        Poll::Ready(self.send(Bytes::copy_from_slice(piece)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut piece = BytesMut::with_capacity(total.min(PIECE));
        for slice in slices {
            let room = PIECE - piece.len();
            piece.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(self.send(piece.freeze()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.close();
        Poll::Ready(Ok(()))
    }
}

impl tonic::transport::server::Connected for TunnelIo {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
