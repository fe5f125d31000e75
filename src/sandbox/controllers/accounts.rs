//! The ServiceAccount `default` of every namespace (pkg/controller/serviceaccount): without it the
//! API server admits no pods.

use std::sync::Arc;

use ::kube::Api;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use super::informer::{Change, Key};
use super::objects::{has_code, is_namespace_terminating, is_terminating};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, post};

const DEFAULT: &str = "default";

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            queue: Queue::new(),
        });
        let hears = Arc::clone(&controller);
        shared.namespaces.on_change(move |change| {
            if !matches!(change, Change::Deleted(_)) {
                hears.queue.add(Key::of(change.object().as_ref()));
            }
        });
        let hears = Arc::clone(&controller);
        shared.accounts.on_change(move |change| {
            if let Change::Deleted(account) = change
                && account.metadata.name.as_deref() == Some(DEFAULT)
            {
                hears
                    .queue
                    .add(Key::new("", Key::of(account.as_ref()).namespace));
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("serviceaccount", queue, 1, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let Some(namespace) = self.shared.namespaces.get(key) else {
            return Ok(());
        };
        let there = self
            .shared
            .accounts
            .get(&Key::new(&key.name, DEFAULT))
            .is_some();
        if there || is_terminating(&namespace.metadata) {
            return Ok(());
        }
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(DEFAULT.into()),
                namespace: Some(key.name.clone()),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.shared.client.clone(), &key.name);
        match api.create(&post(), &account).await {
            Ok(_) => Ok(()),
            Err(error) if has_code(&error, 409) || is_namespace_terminating(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
