//! The socket: connections that can break, and a door that can be shut.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::serve::{IncomingStream, Listener};
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::layer::FaultService;
use super::plan::Faults;
use crate::clock;

/// Between two tries to listen again.
const PAUSE: Duration = Duration::from_millis(20);

/// Serves plain HTTP (1.1, and 2 with prior knowledge) until `shutdown`.
///
/// # Errors
/// If the listener has no address.
pub(in crate::sandbox) async fn serve(
    listener: TcpListener,
    service: FaultService,
    faults: Faults,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let door = Door {
        address: listener.local_addr()?,
        listener: Some(listener),
        faults,
    };
    let each = tower::service_fn(move |connection: IncomingStream<'_, Door>| {
        let connected = Connected {
            service: service.clone(),
            broken: connection.io().broken.clone(),
        };
        std::future::ready(Ok::<_, Infallible>(connected))
    });
    axum::serve(door, each)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

/// A listener that is closed while nobody is to be there.
struct Door {
    address: SocketAddr,
    listener: Option<TcpListener>,
    faults: Faults,
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Some(listener) = &mut self.listener else {
                self.faults.until_refusing(false).await;
                match TcpListener::bind(self.address).await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(error) => {
                        tracing::warn!(%error, address = %self.address, "cannot listen again yet");
                        clock::sleep(PAUSE).await;
                    }
                }
                continue;
            };
            tokio::select! {
                () = self.faults.until_refusing(true) => self.listener = None,
                (stream, from) = Listener::accept(listener) => {
                    // Answers are small; waiting to fill packets would cost 40 ms each.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot set TCP_NODELAY");
                    }
                    return (Connection { stream, broken: Arc::default() }, from);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A connection that can be broken: nothing passes any more, and the other side is told so by a reset.
struct Connection {
    stream: TcpStream,
    broken: Arc<AtomicBool>,
}

impl Connection {
    fn whole(&self) -> io::Result<()> {
        if !self.broken.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Err(error) = self.stream.set_zero_linger() {
            tracing::debug!(%error, "the connection will be closed instead of reset");
        }
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.whole()?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The service of one connection.
#[derive(Clone)]
struct Connected {
    service: FaultService,
    broken: Arc<AtomicBool>,
}

impl tower::Service<Request> for Connected {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = self.service.call(request);
        let broken = self.broken.clone();
        Box::pin(async move {
            Ok(answer.await.unwrap_or_else(|error| {
                tracing::debug!(%error, "the connection breaks");
                broken.store(true, Ordering::Release);
                // Never sent: writing it finds the connection broken.
                Response::new(Body::empty())
            }))
        })
    }
}
