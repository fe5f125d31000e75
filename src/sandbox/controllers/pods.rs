//! Creating and deleting an owner's pods, with the events that tell of it
//! (pkg/controller/controller_utils.go, `RealPodControl`).

use std::sync::Arc;

use ::kube::api::{DeleteParams, Preconditions};
use ::kube::{Api, Client};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::claim::controller_reference;
use super::events::Recorder;
use super::informer::{Key, Namespaced};
use super::objects::{api_message, has_code, is_namespace_terminating, name, namespace};
use super::post;

/// Why the number of pods could not be brought to the wanted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub reason: &'static str,
    /// What the API server said.
    pub message: String,
}

/// The pod that `owner` makes of a template (`GetPodFromTemplate`).
#[must_use]
pub fn from_template<K: Namespaced>(owner: &K, template: &PodTemplateSpec) -> Pod {
    let PodTemplateSpec { metadata, spec } = template.clone();
    let template = metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(owner.meta()))),
            namespace: owner.meta().namespace.clone(),
            labels: template.labels,
            annotations: template.annotations,
            finalizers: template.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

/// Creates and deletes pods on behalf of their owners.
#[derive(Clone)]
pub struct PodControl {
    client: Client,
    recorder: Recorder,
}

impl std::fmt::Debug for PodControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodControl").finish_non_exhaustive()
    }
}

impl PodControl {
    /// One that tells of what it does through `recorder`.
    #[must_use]
    pub fn new(client: Client, recorder: Recorder) -> Self {
        Self { client, recorder }
    }

    /// Creates `pods`, slowly at first: an owner whose pods are all refused costs one request, not
    /// hundreds. `missed` hears of every pod that will not be seen. The first failure is reported.
    pub async fn create<K: Namespaced>(
        &self,
        owner: &K,
        pods: &[Pod],
        missed: impl Fn(usize),
    ) -> Option<Failure> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace(owner.meta()));
        let params = post();
        let mut left = pods;
        let mut batch = 1;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(batch));
            left = later;
            batch *= 2;
            let mut failure = None;
            for answer in join_all(now.iter().map(|pod| api.create(&params, pod))).await {
                match answer {
                    Ok(created) => {
                        let message = format!("Created pod: {}", name(&created.metadata));
                        self.recorder.normal(owner, "SuccessfulCreate", message);
                    }
                    Err(error) => {
                        missed(1);
                        if is_namespace_terminating(&error) {
                            continue;
                        }
                        let message = api_message(&error);
                        let told = format!("Error creating: {message}");
                        self.recorder.warning(owner, "FailedCreate", told);
                        failure.get_or_insert(Failure {
                            reason: "FailedCreate",
                            message,
                        });
                    }
                }
            }
            if failure.is_some() {
                missed(left.len());
                return failure;
            }
        }
        None
    }

    /// Deletes `pods`. `missed` hears of every pod whose end will not be seen. The first failure is
    /// reported; a pod that is gone already is none.
    pub async fn delete<K: Namespaced>(
        &self,
        owner: &K,
        pods: &[Arc<Pod>],
        missed: impl Fn(&Key),
    ) -> Option<Failure> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace(owner.meta()));
        let deletions = pods.iter().map(|pod| {
            let api = &api;
            async move {
                let preconditions = Preconditions {
                    uid: pod.metadata.uid.clone(),
                    ..Preconditions::default()
                };
                let params = DeleteParams::default().preconditions(preconditions);
                api.delete(name(&pod.metadata), &params).await
            }
        });
        let answers = join_all(deletions).await;
        let mut failure = None;
        for (pod, answer) in pods.iter().zip(answers) {
            match answer {
                Ok(_) => {
                    let message = format!("Deleted pod: {}", name(&pod.metadata));
                    self.recorder.normal(owner, "SuccessfulDelete", message);
                }
                Err(error) => {
                    missed(&Key::of(pod.as_ref()));
                    if has_code(&error, 404) {
                        continue;
                    }
                    let message = api_message(&error);
                    let told = format!("Error deleting: {message}");
                    self.recorder.warning(owner, "FailedDelete", told);
                    failure.get_or_insert(Failure {
                        reason: "FailedDelete",
                        message,
                    });
                }
            }
        }
        failure
    }
}
