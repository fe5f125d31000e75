//! An API server in the process.
//!
//! It answers as kube-apiserver does: the same paths, verbs, status codes, texts and
//! `resourceVersion` semantics. It is generic over the table of facts about types
//! ([`crate::sandbox::types`]); what is particular to a kind is in `rules`, one file each. All state is
//! in [`store`]; requests in the process and from a socket go through one path ([`handler`]).
//!
//! It is a `tower` service, so that faults can be laid around it, and it has no authentication: bind it
//! to loopback.

mod accept;
mod call;
mod conversion;
mod documents;
pub(super) mod error;
mod field;
mod handler;
mod json_error;
mod meta;
pub(super) mod path;
pub(super) mod query;
mod registry;
mod reply;
mod rules;
mod selector;
mod server;
mod service;
mod store;
mod subresources;
mod verbs;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::ServiceExt;
use axum::extract::Request;
use axum::serve::ListenerExt as _;
use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use service::Service;

use crate::clock;
use server::Server;

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seeds generated names and UIDs: one seed, one run.
    pub seed: u64,
    /// Events kept per resource; a watch from before them is answered 410.
    pub event_log: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 0,
            event_log: 20_000,
        }
    }
}

/// A running API server: its state. Clones share it.
#[derive(Clone, Debug)]
pub struct ApiServer {
    server: Arc<Server>,
}

impl ApiServer {
    /// A server with the objects that every real one has: system namespaces and priority classes.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            server: Arc::new(Server::new(&options, clock::now())),
        }
    }

    /// The server as a service, for [`::kube::Client::new`] and for layers around it.
    #[must_use]
    pub fn service(&self) -> Service {
        self.service_until(CancellationToken::new())
    }

    /// The same; `shutdown` ends the watches.
    #[must_use]
    pub fn service_until(&self, shutdown: CancellationToken) -> Service {
        Service::new(self.server.clone(), shutdown)
    }

    /// A client in the process. It does not retry by itself.
    #[must_use]
    pub fn client(&self) -> ::kube::Client {
        ::kube::Client::new(self.service(), "default")
    }

    /// The newest `resourceVersion`.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.server.store.revision()
    }

    /// The oldest `resourceVersion` at which a resource can still be listed.
    #[must_use]
    pub fn oldest_revision(&self, group: &str, version: &str, resource: &str) -> u64 {
        let found = self.server.registry.resource(group, version, resource);
        found.map_or(0, |found| self.server.store.oldest(found.collection))
    }

    /// Serves plain HTTP (1.1, and 2 with prior knowledge) until `shutdown`, which also ends watches.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        let service = self.service_until(shutdown.clone());
        // Answers are small; waiting to fill packets would cost 40 ms each.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
        });
        axum::serve(listener, ServiceExt::<Request>::into_make_service(service))
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
    }
}
