//! The disruption controller: how many pods of a PodDisruptionBudget may go
//! (pkg/controller/disruption/disruption.go). The eviction subresource spends what is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::kube::Api;
use ::kube::api::{ApiResource, GroupVersionKind};
use ::kube::core::DynamicObject;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use tokio_util::sync::CancellationToken;

use super::events::Recorder;
use super::informer::{Change, Key};
use super::objects::{
    age, controller_of, has_code, is_ready, is_terminating, name, namespace, scaled, seconds,
    selects, uid,
};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, post};
use crate::clock;

/// A disruption that the API server allowed and that did not happen is forgotten after this time.
const DELETION_TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// How many pods a budget counts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// How many there should be.
    pub pods: i32,
    /// How many of them healthy.
    pub healthy: i32,
}

/// What a budget asks for, with `matching` pods whose controllers want `scale` (`getExpectedPodCount`).
#[must_use]
pub fn expected(budget: &PodDisruptionBudget, matching: i32, scale: i32) -> Expected {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    let Some(spec) = &budget.spec else {
        return Expected {
            pods: matching,
            healthy: 0,
        };
    };
    if let Some(unavailable) = &spec.max_unavailable {
        let healthy = (scale - scaled(unavailable, scale, true)).max(0);
        return Expected {
            pods: scale,
            healthy,
        };
    }
    match &spec.min_available {
        Some(IntOrString::Int(healthy)) => Expected {
            pods: matching,
            healthy: *healthy,
        },
        Some(percent) => Expected {
            pods: scale,
            healthy: scaled(percent, scale, true),
        },
        None => Expected {
            pods: matching,
            healthy: 0,
        },
    }
}

/// Whether the numbers need the scale of the pods' controllers.
fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    budget.spec.as_ref().is_some_and(|spec| {
        spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
    })
}

/// The pods that the API server has let go and that have not gone yet; the others are forgotten.
/// With them, when to look again (`buildDisruptedPodMap`).
#[must_use]
pub fn disrupted(
    known: &BTreeMap<String, Time>,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let mut kept = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !is_terminating(&pod.metadata)) {
        if let Some(since) = known.get(name(&pod.metadata))
            && age(since, now) < DELETION_TIMEOUT
        {
            kept.insert(name(&pod.metadata).to_owned(), since.clone());
        }
    }
    let next = kept
        .values()
        .map(|since| DELETION_TIMEOUT.saturating_sub(age(since, now)))
        .min();
    (kept, next)
}

/// The pods that are healthy and not on their way out (`countHealthyPods`).
#[must_use]
pub fn healthy(pods: &[Arc<Pod>], disrupted: &BTreeMap<String, Time>) -> i32 {
    let healthy = pods.iter().filter(|pod| {
        !is_terminating(&pod.metadata)
            && !disrupted.contains_key(name(&pod.metadata))
            && is_ready(pod)
    });
    i32::try_from(healthy.count()).unwrap_or(i32::MAX)
}

/// The budget's status (`updatePdbStatus`).
#[must_use]
pub fn status(
    budget: &PodDisruptionBudget,
    healthy: i32,
    expected: Expected,
    disrupted: BTreeMap<String, Time>,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let allowed = if expected.pods <= 0 {
        0
    } else {
        healthy.saturating_sub(expected.healthy).max(0)
    };
    let old = budget.status.clone().unwrap_or_default();
    let told = if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.healthy),
        expected_pods: Some(expected.pods),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: budget.metadata.generation,
        conditions: Some(tell(
            budget,
            old.conditions.unwrap_or_default(),
            told,
            "",
            now,
        )),
    }
}

fn tell(
    budget: &PodDisruptionBudget,
    mut conditions: Vec<Condition>,
    (value, reason): (&str, &str),
    message: &str,
    now: Timestamp,
) -> Vec<Condition> {
    let kind = "DisruptionAllowed";
    let place = conditions
        .iter()
        .position(|condition| condition.type_ == kind);
    let since = place
        .map(|place| &conditions[place])
        .filter(|condition| condition.status == value)
        .map_or(Time(now), |condition| {
            condition.last_transition_time.clone()
        });
    let condition = Condition {
        type_: kind.into(),
        status: value.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: since,
        observed_generation: budget.metadata.generation,
    };
    match place {
        Some(place) => conditions[place] = condition,
        None => conditions.push(condition),
    }
    conditions
}

/// See the module.
#[derive(Debug)]
pub(super) struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    queue: Arc<Queue<Key>>,
}

impl Controller {
    /// A controller that hears of every change from now on.
    pub(super) fn new(shared: &Arc<Shared>, recorder: Recorder) -> Arc<Self> {
        let controller = Arc::new(Self {
            shared: Arc::clone(shared),
            recorder,
            queue: Queue::new(),
        });
        let hears = Arc::clone(&controller);
        shared.budgets.on_change(move |change| {
            hears.queue.add(Key::of(change.object().as_ref()));
        });
        let hears = Arc::clone(&controller);
        shared.pods.on_change(move |change| {
            hears.wake_budgets_of(change.object());
            if let Change::Updated(old, new) = change
                && old.metadata.labels != new.metadata.labels
            {
                hears.wake_budgets_of(old);
            }
        });
        // A changed scale changes what is expected.
        let hears = Arc::clone(&controller);
        shared.deployments.on_change(move |change| {
            if let Change::Updated(old, new) = change
                && old.spec.replicas != new.spec.replicas
            {
                hears.wake_namespace(namespace(&new.metadata));
            }
        });
        let hears = Arc::clone(&controller);
        shared.replica_sets.on_change(move |change| {
            if let Change::Updated(old, new) = change
                && old.spec.replicas != new.spec.replicas
            {
                hears.wake_namespace(namespace(&new.metadata));
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("disruption", queue, 2, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    fn wake_budgets_of(&self, pod: &Pod) {
        let budgets = self
            .shared
            .budgets
            .indexed(&format!("ns/{}", namespace(&pod.metadata)));
        for budget in budgets {
            if is_for(&budget, pod) {
                self.queue.add(Key::of(budget.as_ref()));
            }
        }
    }

    fn wake_namespace(&self, namespace: &str) {
        for budget in self.shared.budgets.indexed(&format!("ns/{namespace}")) {
            self.queue.add(Key::of(budget.as_ref()));
        }
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let Some(budget) = self.shared.budgets.get(key) else {
            return Ok(());
        };
        let pods = self.shared.pods.indexed(&format!("ns/{}", key.namespace));
        let pods: Vec<Arc<Pod>> = pods
            .into_iter()
            .filter(|pod| is_for(&budget, pod))
            .collect();
        if pods.is_empty() {
            self.recorder
                .normal(budget.as_ref(), "NoPods", "No matching pods found");
        }
        let now = seconds(clock::now());
        let known = budget
            .status
            .as_ref()
            .and_then(|status| status.disrupted_pods.clone());
        let (disrupted, next) = disrupted(&known.unwrap_or_default(), &pods, now);
        let matching = i32::try_from(pods.len()).unwrap_or(i32::MAX);
        let scale = if needs_scale(&budget) {
            self.scale(&pods).await
        } else {
            Ok(matching)
        };
        let status = match scale {
            Ok(scale) => {
                let expected = expected(&budget, matching, scale);
                status(
                    &budget,
                    healthy(&pods, &disrupted),
                    expected,
                    disrupted,
                    now,
                )
            }
            Err(message) => {
                // Nothing may go while it is unknown how many there should be.
                let told = format!("Failed to calculate the number of expected pods: {message}");
                self.recorder
                    .warning(budget.as_ref(), "CalculateExpectedPodCountFailed", told);
                let old = budget.status.clone().unwrap_or_default();
                let conditions = old.conditions.clone().unwrap_or_default();
                let failed = ("False", "SyncFailed");
                PodDisruptionBudgetStatus {
                    disruptions_allowed: Some(0),
                    conditions: Some(tell(&budget, conditions, failed, &message, now)),
                    ..old
                }
            }
        };
        if budget.status.as_ref() != Some(&status) {
            let mut changed = (*budget).clone();
            changed.status = Some(status);
            let api: Api<PodDisruptionBudget> =
                Api::namespaced(self.shared.client.clone(), &key.namespace);
            match api.replace_status(&key.name, &post(), &changed).await {
                Ok(_) => {}
                Err(error) if has_code(&error, 404) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(next) = next {
            self.queue
                .add_after(key.clone(), next + Duration::from_secs(1));
        }
        Ok(())
    }

    /// How many pods the controllers of these pods want, each counted once; pods without one count
    /// for nothing (`getExpectedScale`).
    async fn scale(&self, pods: &[Arc<Pod>]) -> Result<i32, String> {
        let mut seen = BTreeSet::new();
        let mut total = 0_i32;
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else {
                continue;
            };
            if seen.contains(&owner.uid) {
                continue;
            }
            seen.insert(owner.uid.clone());
            let of_pod = namespace(&pod.metadata);
            if let Some((scaler, replicas)) = self.scale_of(of_pod, owner).await?
                // ReplicaSets of one Deployment count as one.
                && (scaler == owner.uid || seen.insert(scaler))
            {
                total = total.saturating_add(replicas);
            }
        }
        Ok(total)
    }

    /// The uid of what is scaled, and its wanted replicas.
    async fn scale_of(
        &self,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Result<Option<(String, i32)>, String> {
        if owner.kind == "ReplicaSet" {
            let set = self
                .shared
                .replica_sets
                .get(&Key::new(namespace, &owner.name));
            let Some(set) = set.filter(|set| uid(&set.metadata) == owner.uid) else {
                return Ok(None);
            };
            let Some(above) =
                controller_of(&set.metadata).filter(|above| above.kind == "Deployment")
            else {
                return Ok(Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1))));
            };
            let deployment = self
                .shared
                .deployments
                .get(&Key::new(namespace, &above.name));
            return Ok(deployment
                .filter(|deployment| uid(&deployment.metadata) == above.uid)
                .map(|deployment| (above.uid.clone(), deployment.spec.replicas.unwrap_or(1))));
        }
        let resource = resource_of(owner);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.shared.client.clone(), namespace, &resource);
        match api.get_scale(&owner.name).await {
            Ok(scale) => {
                let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                Ok(Some((owner.uid.clone(), replicas)))
            }
            Err(error) if has_code(&error, 404) => Err(format!(
                "{}.{} does not implement the scale subresource",
                resource.plural, resource.group
            )),
            Err(error) => Err(super::objects::api_message(&error)),
        }
    }
}

fn is_for(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| selects(selector, &pod.metadata))
}

fn resource_of(owner: &OwnerReference) -> ApiResource {
    let (group, version) = owner
        .api_version
        .split_once('/')
        .unwrap_or(("", &owner.api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &owner.kind))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn budget(spec: Value) -> PodDisruptionBudget {
        serde_json::from_value(json!({"metadata": {"name": "b", "generation": 2}, "spec": spec}))
            .unwrap()
    }

    fn pod(name: &str, ready: bool) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(
                json!({"metadata": {"name": name}, "status": {"conditions": [
                {"type": "Ready", "status": if ready { "True" } else { "False" }}]}}),
            )
            .unwrap(),
        )
    }

    #[test]
    fn what_a_budget_expects() {
        let of = |spec, pods, scale| {
            let expected = expected(&budget(spec), pods, scale);
            (expected.pods, expected.healthy)
        };
        assert_eq!(of(json!({"minAvailable": 2}), 5, 7), (5, 2));
        assert_eq!(of(json!({"minAvailable": "50%"}), 5, 7), (7, 4));
        assert_eq!(of(json!({"maxUnavailable": 1}), 5, 7), (7, 6));
        assert_eq!(of(json!({"maxUnavailable": "25%"}), 5, 7), (7, 5));
        assert_eq!(of(json!({"maxUnavailable": 9}), 5, 7), (7, 0));
    }

    #[test]
    fn what_is_allowed_is_what_is_healthy_beyond_what_must_be() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let pods = [
            pod("a", true),
            pod("b", true),
            pod("c", false),
            pod("d", true),
        ];
        let known = BTreeMap::from([
            (
                "a".to_owned(),
                Time("2026-01-01T00:09:00Z".parse().unwrap()),
            ),
            (
                "d".to_owned(),
                Time("2026-01-01T00:07:00Z".parse().unwrap()),
            ),
        ]);
        let (disrupted, next) = disrupted(&known, &pods, now);
        assert_eq!(disrupted.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(next, Some(Duration::from_secs(60)));
        let healthy = healthy(&pods, &disrupted);
        assert_eq!(healthy, 2);
        let budget = budget(json!({"minAvailable": 1}));
        let status = status(&budget, healthy, expected(&budget, 4, 4), disrupted, now);
        assert_eq!(status.disruptions_allowed, Some(1));
        assert_eq!(status.observed_generation, Some(2));
        assert_eq!(status.conditions.unwrap()[0].reason, "SufficientPods");
    }

    #[test]
    fn a_budget_without_pods_allows_nothing() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let budget = budget(json!({"minAvailable": 0}));
        let status = status(&budget, 0, expected(&budget, 0, 0), BTreeMap::new(), now);
        assert_eq!(status.disruptions_allowed, Some(0));
        assert_eq!(status.conditions.unwrap()[0].reason, "InsufficientPods");
    }
}
