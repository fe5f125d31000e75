//! What a Job asks of its pods, and the pods that it makes (pkg/controller/job). Pure.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, EnvVar, EnvVarSource, ObjectFieldSelector, Pod,
};

use crate::sandbox::controllers::objects::{
    annotation, is_terminating, name, phase, pod_condition,
};
use crate::sandbox::controllers::pods::from_template;

/// The finalizer that keeps a pod until its end was counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// The annotation and label with the completion index of a pod of an Indexed Job.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The annotation with how often the index has failed before.
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The spec; a Job without one is as good as an empty one.
#[must_use]
pub fn spec(job: &Job) -> JobSpec {
    job.spec.clone().unwrap_or_default()
}

/// Whether each pod has an index of its own.
#[must_use]
pub fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// Whether the pod's end was not counted yet.
#[must_use]
pub fn is_tracked(pod: &Pod) -> bool {
    let finalizers = pod.metadata.finalizers.as_deref().unwrap_or_default();
    finalizers.iter().any(|finalizer| finalizer == FINALIZER)
}

/// The pod's completion index, if it has one.
#[must_use]
pub fn index(pod: &Pod) -> Option<i32> {
    let index = annotation(&pod.metadata, INDEX)?.parse().ok()?;
    (index >= 0).then_some(index)
}

/// How often the pod's index had failed before it.
#[must_use]
pub fn index_failures(pod: &Pod) -> i32 {
    let count = annotation(&pod.metadata, INDEX_FAILURES).and_then(|count| count.parse().ok());
    count.unwrap_or(0).max(0)
}

/// Whether pods are replaced only when they have ended, not already while they terminate.
#[must_use]
pub fn replaces_only_failed(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// Whether the pod counts as failed; one that is being deleted does unless replaced only at its end.
#[must_use]
pub fn is_failed(spec: &JobSpec, pod: &Pod) -> bool {
    phase(pod) == "Failed"
        || (!replaces_only_failed(spec)
            && is_terminating(&pod.metadata)
            && phase(pod) != "Succeeded")
}

/// When the pod ended (`getFinishedTime`).
#[must_use]
pub fn finished_at(pod: &Pod) -> Timestamp {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    let ended = |status: &ContainerStatus| {
        let terminated = status.state.as_ref()?.terminated.as_ref()?;
        terminated.finished_at.as_ref().map(|time| time.0)
    };
    let ends: Option<Vec<Timestamp>> = containers.unwrap_or_default().iter().map(ended).collect();
    let last = ends.and_then(|ends| ends.into_iter().max());
    let unready = || {
        let condition = pod_condition(pod, "Ready").filter(|ready| ready.status == "False")?;
        condition.last_transition_time.as_ref().map(|time| time.0)
    };
    let deleted = || {
        let at = pod.metadata.deletion_timestamp.as_ref()?.0;
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
        at.checked_sub(jiff::SignedDuration::from_secs(grace)).ok()
    };
    let created = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    last.or_else(unready)
        .or_else(deleted)
        .or_else(created)
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A pod of the Job, for this index of an Indexed one, whose index has failed so often before.
#[must_use]
pub fn pod_for(job: &Job, index: Option<i32>, failures: Option<i32>) -> Pod {
    let spec = spec(job);
    let mut pod = from_template(job, &spec.template);
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    let Some(index) = index else { return pod };
    let job_name = name(&job.metadata);
    pod.metadata.generate_name = Some(format!("{job_name}-{index}-"));
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if let Some(failures) = failures {
        annotations.insert(INDEX_FAILURES.to_owned(), failures.to_string());
    }
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(INDEX.to_owned(), index.to_string());
    let inner = pod.spec.get_or_insert_default();
    inner.hostname = Some(format!("{job_name}-{index}"));
    let init = inner.init_containers.iter_mut().flatten();
    for container in init.chain(&mut inner.containers) {
        tell_index(container);
    }
    pod
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|known| known.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector {
        field_path: format!("metadata.labels['{INDEX}']"),
        ..ObjectFieldSelector::default()
    };
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(field),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_indexed_pod_knows_its_index() {
        let job: Job = serde_json::from_value(json!({"metadata": {"name": "j", "uid": "u"},
            "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}}))
        .unwrap();
        let pod = pod_for(&job, Some(3), Some(1));
        assert_eq!((index(&pod), index_failures(&pod)), (Some(3), 1));
        assert!(is_tracked(&pod));
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("j-3-"));
        let spec = pod.spec.unwrap();
        assert_eq!(spec.hostname.as_deref(), Some("j-3"));
        assert_eq!(
            spec.containers[0].env.as_ref().unwrap()[0].name,
            INDEX_VARIABLE
        );
    }
}
