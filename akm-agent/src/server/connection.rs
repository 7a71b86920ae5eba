//! One connection, from its first byte to its end.
//!
//! hyper's buffers exist only once the client has sent something, so a client that connects and waits
//! costs little. Answers leave as one vectored write: head and body are never copied together, and the
//! body, which may hold a secret, is freed (and wiped by the allocator) once written.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use akm_core::peer::Peer;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Sleep;

use super::room::{Descriptor, Seat};
use super::route::Http;
use super::{
    HEAD_TIMEOUT, MAX_HEAD, MAX_HEADERS, Phase, Shared, WRITE_TIMEOUT, route, until_changed,
};
use crate::caller::Process;

/// A connection of the Unix socket. Who it is of is looked up when it speaks, if it was not before.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    stream: UnixStream,
    peer: Peer,
    pinned: Option<(Descriptor, Process)>,
    seat: &Seat,
) {
    let mut phase = shared.phase.subscribe();
    let spoke = tokio::select! {
        // What it says counts before that another wants its seat.
        biased;
        ready = tokio::time::timeout(HEAD_TIMEOUT, stream.readable()) => matches!(ready, Ok(Ok(()))),
        _ = phase.wait_for(|phase| phase.stopping) => false,
        () = seat.asked_to_go() => false,
    };
    if !spoke {
        return;
    }
    // In case it was asked to go just then.
    seat.wait();
    let (_descriptor, process) = match pinned {
        Some(pinned) => pinned,
        None => (seat.second().await, Process::pin(&stream, peer)),
    };
    let answer = |request| route::answer(shared, &process, seat, request);
    tokio::select! {
        biased;
        () = http(phase, stream, answer) => {}
        () = seat.asked_to_go() => {}
    }
}

/// Answers requests until the client goes away, or a lock or a stop closes the connection.
pub(super) async fn http<S, F, A>(mut phase: watch::Receiver<Phase>, stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(hyper::Request<Incoming>) -> A,
    A: Future<Output = Http>,
{
    // A lock before the first byte is none of this connection's business.
    let stopping = phase.borrow_and_update().stopping;
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut connection = pin!(builder().serve_connection(Io::new(stream), service));
    if stopping {
        connection.as_mut().graceful_shutdown();
    }
    // A lock or a stop lets an answer under way finish and closes an idle connection at once.
    while until_changed(connection.as_mut(), &mut phase)
        .await
        .is_none()
    {
        connection.as_mut().graceful_shutdown();
    }
}

/// A connection of a network listener. It ends with an answer under way when the server stops. A lock of somebody
/// else's session is none of its business; its own buffers go when it is idle for as long as a head may take.
pub(super) async fn serve_remote<S, A>(
    shared: &Shared,
    stream: S,
    answer: impl Fn(hyper::Request<Incoming>) -> A,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Future<Output = Http>,
{
    let mut phase = shared.phase.subscribe();
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut connection = pin!(builder().serve_connection(Io::new(stream), service));
    let stopped = tokio::select! {
        _ = connection.as_mut() => false,
        _ = phase.wait_for(|phase| phase.stopping) => true,
    };
    if stopped {
        connection.as_mut().graceful_shutdown();
        // What it failed with concerns nobody any more.
        let _ = connection.await;
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .auto_date_header(false)
        .writev(true);
    builder
}

/// A socket whose writes may not wait for ever. Reads are bounded by hyper and by `route`.
struct Io<S> {
    stream: TokioIo<S>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Io<S> {
    fn new(stream: S) -> Io<S> {
        Io {
            stream: TokioIo::new(stream),
            stalled: None,
        }
    }

    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> Write for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
