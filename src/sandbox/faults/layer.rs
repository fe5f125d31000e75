//! The layer: asks the plan about each request, and does what it says.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Buf;
use http::request::Parts;
use http::{HeaderValue, Request, Response, Uri, header};

use super::asked::Asked;
use super::body::{self, Open};
use super::plan::Faults;
use super::rule::Fault;
use super::{answers, endpoint};
use crate::clock;
use crate::sandbox::apiserver::{ApiServer, Service};

/// What a client sees instead of an answer. In the process it is the error of the service; on a socket the
/// connection ends so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The connection broke; the request may or may not have been carried out.
    #[error("connection reset by peer (a fault on demand)")]
    Reset,
    /// Nobody listens.
    #[error("connection refused (a fault on demand)")]
    Refused,
}

impl Broken {
    /// As the operating system tells it.
    fn as_io(self) -> std::io::Error {
        let kind = match self {
            Self::Reset => std::io::ErrorKind::ConnectionReset,
            Self::Refused => std::io::ErrorKind::ConnectionRefused,
        };
        std::io::Error::new(kind, self)
    }
}

/// Puts faults around an API server's service.
#[derive(Clone, Debug)]
pub struct FaultLayer {
    faults: Faults,
    server: ApiServer,
    agent: Option<HeaderValue>,
}

impl FaultLayer {
    /// A layer with these rules.
    #[must_use]
    pub fn new(faults: Faults, server: ApiServer) -> Self {
        Self {
            faults,
            server,
            agent: None,
        }
    }

    /// Clients in the process that do not say who they are say this.
    #[must_use]
    pub fn with_agent(mut self, agent: &'static str) -> Self {
        self.agent = Some(HeaderValue::from_static(agent));
        self
    }
}

impl tower::Layer<Service> for FaultLayer {
    type Service = FaultService;

    fn layer(&self, inner: Service) -> FaultService {
        FaultService {
            inner,
            layer: self.clone(),
        }
    }
}

/// The API server behind its faults. Its errors are what a broken connection is: see [`Broken`].
#[derive(Clone, Debug)]
pub struct FaultService {
    inner: Service,
    layer: FaultLayer,
}

impl<B> tower::Service<Request<B>> for FaultService
where
    B: HttpBody + Send + 'static,
    B::Data: Buf + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The inner service is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

impl FaultService {
    async fn answer<B>(mut self, request: Request<B>) -> Result<Response<Body>, std::io::Error>
    where
        B: HttpBody + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        if let Some(agent) = &self.layer.agent
            && !parts.headers.contains_key(header::USER_AGENT)
        {
            parts.headers.insert(header::USER_AGENT, agent.clone());
        }
        let faults = self.layer.faults.clone();
        // The weather can be changed in any weather.
        if parts.uri.path() == endpoint::PATH {
            return Ok(endpoint::answer(&faults, &parts.method, body).await);
        }
        let may_watch = || {
            parts
                .uri
                .query()
                .is_some_and(|query| query.contains("watch"))
        };
        if faults.is_calm() && !may_watch() {
            return Ok(self.forward(parts, body).await);
        }
        if faults.refuses() {
            return Err(Broken::Refused.as_io());
        }
        let asked = Asked::of(&parts);
        let decision = faults.decide(&asked);
        if !decision.delay.is_zero() {
            clock::sleep(decision.delay).await;
        }
        match decision.fault.clone() {
            None | Some(Fault::Latency(..)) => {}
            Some(Fault::Conflict) => return Ok(answers::conflict(&asked)),
            Some(Fault::Overload {
                retry_after,
                status,
            }) => return Ok(answers::overload(retry_after, status)),
            Some(Fault::Trouble {
                code,
                done,
                retry_after,
            }) => {
                if done {
                    drop(self.forward(parts, body).await);
                }
                return Ok(answers::trouble(code, done, retry_after));
            }
            // How a watch ends is its body's business.
            Some(Fault::Cut { .. }) => {}
            Some(Fault::Expired { http: false, .. }) if asked.verb == "watch" => {}
            Some(Fault::Expired { .. }) => return Ok(answers::expired()),
            Some(Fault::Stale { behind, .. }) => self.age(&mut parts, &asked, behind),
            Some(Fault::LostReply) => {
                drop(self.forward(parts, body).await);
                return Err(Broken::Reset.as_io());
            }
            Some(Fault::Reset) => return Err(Broken::Reset.as_io()),
            Some(Fault::Refused) => return Err(Broken::Refused.as_io()),
        }
        let answer = self.forward(parts, body).await;
        if asked.verb == "watch" && answer.status().is_success() {
            // Fair weather may end while a watch lasts.
            let open = Open {
                asked,
                faults,
                server: self.layer.server,
                serial: decision.serial,
            };
            return Ok(answer.map(|body| body::watch(body, open, decision.fault.as_ref())));
        }
        Ok(answer)
    }

    async fn forward<B>(&mut self, parts: Parts, body: B) -> Response<Body>
    where
        B: HttpBody + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request = Request::from_parts(parts, body);
        tower::Service::call(&mut self.inner, request)
            .await
            .unwrap_or_else(|never| match never {})
    }

    /// Asks for a past state exactly, which is a true answer of an earlier moment: as far back as told, but
    /// neither before what the client has seen nor before what is still known.
    fn age(&self, parts: &mut Parts, asked: &Asked, behind: u64) {
        let Some(path) = &asked.resource else {
            return;
        };
        let server = &self.layer.server;
        let seen: u64 = asked.query.get("resourceVersion").parse().unwrap_or(0);
        let version = server
            .revision()
            .saturating_sub(behind)
            .max(seen)
            .max(server.oldest_revision(&path.group, &path.version, &path.resource))
            .max(1);
        let mut query: Vec<String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("resourceVersion"))
            .map(str::to_owned)
            .collect();
        query.push(format!("resourceVersion={version}"));
        query.push("resourceVersionMatch=Exact".to_owned());
        let text = format!("{}?{}", parts.uri.path(), query.join("&"));
        match text.parse::<Uri>() {
            Ok(uri) => parts.uri = uri,
            Err(error) => tracing::warn!(%error, "a list cannot be made stale"),
        }
    }
}
