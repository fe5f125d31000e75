//! What the controllers share: the client and one cache of each kind that they look at.

use std::sync::Arc;

use ::kube::{Api, Client};
use futures::future::{BoxFuture, join_all};
use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet,
};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use super::informer::{Informer, Whole};
use super::objects::{controller_of, label, namespace};
use super::resources::Resources;

/// One list of the caches: each with its kind, how it is indexed, and which objects are in it.
macro_rules! caches {
    ($($(#[$doc:meta])* $name:ident: $kind:ty, $index:expr, $api:expr;)*) => {
        /// See the module.
        pub(super) struct Shared {
            pub(super) client: Client,
            pub(super) resources: Resources,
            $($(#[$doc])* pub(super) $name: Arc<Informer<$kind>>,)*
        }

        impl Shared {
            /// Empty caches; [`Self::run`] fills them.
            pub(super) fn new(client: Client) -> Arc<Self> {
                Arc::new(Self {
                    client,
                    resources: Resources::default(),
                    $($name: Informer::new($index),)*
                })
            }

            /// Keeps all caches current until `shutdown`.
            pub(super) async fn run(&self, shutdown: &CancellationToken) {
                let all: Vec<BoxFuture<'_, ()>> = vec![
                    $(Box::pin(self.$name.run(
                        Whole::new($api(self.client.clone())),
                        shutdown.clone(),
                    )),)*
                ];
                join_all(all).await;
            }

            /// Waits until every cache has its first list.
            pub(super) async fn synced(&self) {
                $(self.$name.synced().await;)*
            }
        }
    };
}

caches! {
    pods: Pod, index_pod, Api::all;
    replica_sets: ReplicaSet, |set| index_owned(&set.metadata), Api::all;
    deployments: Deployment, |deployment| index_owned(&deployment.metadata), Api::all;
    stateful_sets: StatefulSet, |set| index_owned(&set.metadata), Api::all;
    daemon_sets: DaemonSet, |set| index_owned(&set.metadata), Api::all;
    cron_jobs: CronJob, |job| index_owned(&job.metadata), Api::all;
    autoscalers: HorizontalPodAutoscaler, |_| Vec::new(), Api::all;
    jobs: Job, |job| index_owned(&job.metadata), Api::all;
    revisions: ControllerRevision, |revision| index_owned(&revision.metadata), Api::all;
    budgets: PodDisruptionBudget, |budget| index_owned(&budget.metadata), Api::all;
    services: Service, |service| index_owned(&service.metadata), Api::all;
    endpoints: Endpoints, |endpoints| index_owned(&endpoints.metadata), Api::all;
    slices: EndpointSlice, index_slice, Api::all;
    claims: PersistentVolumeClaim, |claim| index_owned(&claim.metadata), Api::all;
    volumes: PersistentVolume, |_| Vec::new(), Api::all;
    classes: StorageClass, |_| Vec::new(), Api::all;
    nodes: Node, |_| Vec::new(), Api::all;
    /// The nodes' heartbeats.
    leases: Lease, |_| Vec::new(), |client| Api::namespaced(client, "kube-node-lease");
    namespaces: Namespace, |_| Vec::new(), Api::all;
    accounts: ServiceAccount, |_| Vec::new(), Api::all;
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// `ns/<namespace>`, and `owner/<uid>` or `orphan/<namespace>`.
fn index_owned(meta: &ObjectMeta) -> Vec<String> {
    let owner = controller_of(meta).map_or_else(
        || format!("orphan/{}", namespace(meta)),
        |owner| format!("owner/{}", owner.uid),
    );
    vec![format!("ns/{}", namespace(meta)), owner]
}

/// The claims that a pod's volumes name.
pub(super) fn claims_of(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let claims = volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.map(|claim| claim.claim_name.as_str())
}

/// The same, and `node/<node>` and `claim/<namespace>/<claim>`.
fn index_pod(pod: &Pod) -> Vec<String> {
    let mut values = index_owned(&pod.metadata);
    let claims = claims_of(pod).map(|claim| format!("claim/{}/{claim}", namespace(&pod.metadata)));
    values.extend(claims);
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    values.extend(node.map(|node| format!("node/{node}")));
    values
}

/// `service/<namespace>/<service>`.
fn index_slice(slice: &EndpointSlice) -> Vec<String> {
    let service = label(&slice.metadata, "kubernetes.io/service-name");
    service
        .map(|service| format!("service/{}/{service}", namespace(&slice.metadata)))
        .into_iter()
        .collect()
}
