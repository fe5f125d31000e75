//! The server as a `tower` service.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Buf;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;

use super::handler::handle;
use super::server::Server;

/// Answers requests of any body type. Cheap to clone; layers (faults, tracing) go around it.
#[derive(Clone, Debug)]
pub struct Service {
    server: Arc<Server>,
    shutdown: CancellationToken,
}

impl Service {
    pub(super) fn new(server: Arc<Server>, shutdown: CancellationToken) -> Self {
        Self { server, shutdown }
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: HttpBody + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = handle(self.server.clone(), self.shutdown.clone(), request);
        Box::pin(async move { Ok(answer.await) })
    }
}
