//! What every namespace has: the ServiceAccount `default` (pkg/controller/serviceaccount), without which the
//! API server admits no pods, and the ConfigMap that their tokens come with (`rootcacertpublisher` in
//! pkg/controller/certificates). The ConfigMap is not made again when somebody deletes it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ::kube::Api;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use super::informer::{Change, Key};
use super::objects::{has_code, is_namespace_terminating, is_terminating, uid};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, post};

const DEFAULT: &str = "default";

const ROOT_CA: &str = "kube-root-ca.crt";

const ROOT_CA_DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

/// There is nothing to verify: the sandbox serves plain HTTP.
const NO_CA: &str = "# The sandbox has no certificate authority.\n";

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    queue: Arc<Queue<Key>>,
    /// The uids of the namespaces that have had their ConfigMap.
    published: Mutex<BTreeSet<String>>,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            queue: Queue::new(),
            published: Mutex::default(),
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
        if is_terminating(&namespace.metadata) {
            return Ok(());
        }
        self.publish(&key.name, uid(&namespace.metadata)).await?;
        let there = self
            .shared
            .accounts
            .get(&Key::new(&key.name, DEFAULT))
            .is_some();
        if there {
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
        made(api.create(&post(), &account).await)
    }

    async fn publish(&self, namespace: &str, uid: &str) -> Result<(), Error> {
        let published = |set: &Mutex<BTreeSet<String>>| {
            set.lock()
                .expect("no code panics while it holds this lock")
                .contains(uid)
        };
        if published(&self.published) {
            return Ok(());
        }
        let bundle = ConfigMap {
            metadata: ObjectMeta {
                name: Some(ROOT_CA.into()),
                namespace: Some(namespace.into()),
                annotations: Some(
                    [(
                        "kubernetes.io/description".into(),
                        ROOT_CA_DESCRIPTION.into(),
                    )]
                    .into(),
                ),
                ..ObjectMeta::default()
            },
            data: Some([("ca.crt".into(), NO_CA.into())].into()),
            ..ConfigMap::default()
        };
        let api: Api<ConfigMap> = Api::namespaced(self.shared.client.clone(), namespace);
        made(api.create(&post(), &bundle).await)?;
        self.published
            .lock()
            .expect("no code panics while it holds this lock")
            .insert(uid.to_owned());
        Ok(())
    }
}

/// That it is there already, or that its namespace is going, is as good as having made it.
fn made<K>(answer: ::kube::Result<K>) -> Result<(), Error> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if has_code(&error, 409) || is_namespace_terminating(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
