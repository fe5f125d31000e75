//! The HorizontalPodAutoscaler controller of a cluster without metrics
//! (pkg/controller/podautoscaler/horizontal.go): it keeps the target between its limits, and says why it
//! can do no more.

use std::sync::Arc;
use std::time::Duration;

use ::kube::Api;
use ::kube::api::{DynamicObject, Patch, PatchParams};
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler as Autoscaler, HorizontalPodAutoscalerCondition as Condition,
    HorizontalPodAutoscalerStatus as Status, MetricSpec, MetricStatus,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::events::Recorder;
use super::informer::{Change, Key};
use super::objects::{api_message, has_code, namespace, now};
use super::queue::{Queue, work};
use super::shared::Shared;
use super::{Error, MANAGER, post};

/// How often each one is looked at (`--horizontal-pod-autoscaler-sync-period`).
const PERIOD: Duration = Duration::from_secs(15);
/// What the API server answers where no metrics server is installed.
const NO_METRICS: &str = "unable to fetch metrics from resource metrics API: the server could not \
                          find the requested resource (get pods.metrics.k8s.io)";

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
        shared.autoscalers.on_change(move |change| {
            let wakes = match change {
                Change::Added(_) => true,
                // Not our own status.
                Change::Updated(old, new) => old.spec != new.spec,
                Change::Deleted(_) => false,
            };
            if wakes {
                hears.queue.add(Key::of(change.object().as_ref()));
            }
        });
        controller
    }

    /// Works until `shutdown`.
    pub(super) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let queue = Arc::clone(&self.queue);
        work("horizontal-pod-autoscaler", queue, 2, shutdown, |key| {
            let controller = Arc::clone(&self);
            async move { controller.sync(&key).await }
        })
        .await;
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        let Some(scaler) = self.shared.autoscalers.get(key) else {
            return Ok(());
        };
        let mut status = scaler.status.clone().unwrap_or_default();
        self.reconcile(&scaler, &mut status).await?;
        if scaler.status.as_ref() != Some(&status) {
            let mut changed = (*scaler).clone();
            changed.status = Some(status);
            let api: Api<Autoscaler> = Api::namespaced(self.shared.client.clone(), &key.namespace);
            match api.replace_status(&key.name, &post(), &changed).await {
                Err(error) if !has_code(&error, 404) => return Err(error.into()),
                _ => {}
            }
        }
        self.queue.add_after(key.clone(), PERIOD);
        Ok(())
    }

    async fn reconcile(&self, scaler: &Autoscaler, status: &mut Status) -> Result<(), Error> {
        let target = &scaler.spec.scale_target_ref;
        let version = target.api_version.as_deref().unwrap_or("v1");
        let client = &self.shared.client;
        let known = self.shared.resources.of_kind(client, version, &target.kind);
        let Some(known) = known.await? else {
            let message = format!("no matches for kind \"{}\" in group \"\"", target.kind);
            self.cannot_get_scale(scaler, status, &message);
            return Ok(());
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace(&scaler.metadata), &known.resource);
        let scale = match api.get_scale(&target.name).await {
            Ok(scale) => scale,
            Err(error) => {
                self.cannot_get_scale(scaler, status, &api_message(&error));
                return Ok(());
            }
        };
        let current = scale.status.map_or(0, |status| status.replicas);
        let wanted = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
        let message = "the HPA controller was able to get the target's current scale";
        set(status, "AbleToScale", true, "SucceededGetScale", message);
        let least = scaler.spec.min_replicas.unwrap_or(1);
        let (limit, reason) = if wanted == 0 && least != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            set(status, "ScalingActive", false, "ScalingDisabled", message);
            put(status, current, 0, None);
            return Ok(());
        } else if wanted > scaler.spec.max_replicas {
            (
                scaler.spec.max_replicas,
                "Current number of replicas above Spec.MaxReplicas",
            )
        } else if wanted < least {
            (least, "Current number of replicas below Spec.MinReplicas")
        } else {
            self.no_metrics(scaler, status, current);
            return Ok(());
        };
        let patch = Patch::Merge(json!({"spec": {"replicas": limit}}));
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        if let Err(error) = api.patch_scale(&target.name, &params, &patch).await {
            let message = api_message(&error);
            let told = format!("New size: {limit}; reason: {reason}; error: {message}");
            self.recorder.warning(scaler, "FailedRescale", told);
            let message =
                format!("the HPA controller was unable to update the target scale: {message}");
            set(status, "AbleToScale", false, "FailedUpdateScale", &message);
            return Ok(());
        }
        let message = format!("the HPA controller was able to update the target scale to {limit}");
        set(status, "AbleToScale", true, "SucceededRescale", &message);
        let told = format!("New size: {limit}; reason: {reason}");
        self.recorder.normal(scaler, "SuccessfulRescale", told);
        status.last_scale_time = Some(now());
        put(status, current, limit, None);
        Ok(())
    }

    fn cannot_get_scale(&self, scaler: &Autoscaler, status: &mut Status, problem: &str) {
        self.recorder.warning(scaler, "FailedGetScale", problem);
        let message =
            format!("the HPA controller was unable to get the target's current scale: {problem}");
        set(status, "AbleToScale", false, "FailedGetScale", &message);
    }

    /// Nobody measures anything here.
    fn no_metrics(&self, scaler: &Autoscaler, status: &mut Status, current: i32) {
        let metrics = scaler.spec.metrics.as_deref().unwrap_or_default();
        let problems = Vec::from_iter(metrics.iter().map(Problem::of));
        for problem in &problems {
            self.recorder
                .warning(scaler, problem.reason, problem.said.clone());
        }
        if let Some(first) = problems.first() {
            let message = format!(
                "the HPA was unable to compute the replica count: {}",
                first.said
            );
            set(status, "ScalingActive", false, first.reason, &message);
            let (all, kind) = (problems.len(), &first.kind);
            let message = format!(
                "invalid metrics ({all} invalid out of {all}), first error is: failed to get {kind} \
                 metric value: {}",
                first.said
            );
            self.recorder
                .warning(scaler, "FailedComputeMetricsReplicas", message);
        }
        let unknown = vec![MetricStatus::default(); problems.len()];
        put(status, current, status.desired_replicas, Some(unknown));
    }
}

/// Why a metric has no value.
struct Problem {
    reason: &'static str,
    kind: String,
    said: String,
}

impl Problem {
    fn of(metric: &MetricSpec) -> Self {
        let utilization = |by_value: bool| if by_value { "usage" } else { "utilization" };
        if let Some(resource) = &metric.resource {
            let name = &resource.name;
            let what = utilization(resource.target.average_value.is_some());
            return Self {
                reason: "FailedGetResourceMetric",
                kind: format!("{name} resource"),
                said: format!(
                    "failed to get {name} {what}: unable to get metrics for resource {name}: \
                     {NO_METRICS}"
                ),
            };
        }
        if let Some(resource) = &metric.container_resource {
            let name = &resource.name;
            let what = utilization(resource.target.average_value.is_some());
            return Self {
                reason: "FailedGetContainerResourceMetric",
                kind: format!("{name} container"),
                said: format!(
                    "failed to get {name} {what}: unable to get metrics for resource {name}: \
                     {NO_METRICS}"
                ),
            };
        }
        let custom = "unable to fetch metrics from custom metrics API: no custom metrics API \
                      (custom.metrics.k8s.io) registered";
        let external = "unable to fetch metrics from external metrics API: the server could not \
                        find the requested resource";
        let (reason, kind, name, problem) = match (&metric.pods, &metric.object, &metric.external) {
            (Some(pods), _, _) => ("FailedGetPodsMetric", "pods", &pods.metric.name, custom),
            (_, Some(object), _) => (
                "FailedGetObjectMetric",
                "object",
                &object.metric.name,
                custom,
            ),
            (_, _, Some(outside)) => {
                let name = &outside.metric.name;
                ("FailedGetExternalMetric", "external", name, external)
            }
            _ => (
                "InvalidMetricSourceType",
                "unknown",
                &metric.type_,
                "unknown metric source type",
            ),
        };
        Self {
            reason,
            kind: kind.to_owned(),
            said: format!("unable to get metric {name}: {problem}"),
        }
    }
}

fn put(status: &mut Status, current: i32, desired: i32, metrics: Option<Vec<MetricStatus>>) {
    status.current_replicas = (current != 0).then_some(current);
    status.desired_replicas = desired;
    status.current_metrics = metrics;
}

/// Sets a condition; one that says the same keeps its time.
fn set(status: &mut Status, kind: &str, holds: bool, reason: &str, message: &str) {
    let word = if holds { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let place = conditions.iter().position(|known| known.type_ == kind);
    let since = place
        .and_then(|place| conditions.get(place))
        .filter(|known| known.status == word)
        .and_then(|known| known.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: word.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or_else(now)),
        ..Condition::default()
    };
    match place {
        Some(place) => conditions[place] = condition,
        None => conditions.push(condition),
    }
}
