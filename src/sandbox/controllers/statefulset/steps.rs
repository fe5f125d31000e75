//! Carrying out a StatefulSet's steps (pkg/controller/statefulset/stateful_pod_control.go).

use std::sync::Arc;

use ::kube::Api;
use ::kube::api::{DeleteParams, Preconditions};
use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::Controller;
use super::claims::{claims_for, deletes_when_scaled, has_stale_pod, owners};
use super::identity::{furnish, identify, pod_name};
use super::plan::{Claims, Step};
use crate::sandbox::controllers::informer::Key;
use crate::sandbox::controllers::objects::{
    api_message, has_code, is_terminating, name, namespace,
};
use crate::sandbox::controllers::{Error, post};

/// The claims as the cache has them.
pub(super) struct Cached<'a> {
    pub(super) controller: &'a Controller,
    pub(super) set: &'a StatefulSet,
}

impl Cached<'_> {
    fn of(&self, ordinal: i32) -> impl Iterator<Item = Arc<PersistentVolumeClaim>> {
        let claims = claims_for(self.set, ordinal);
        let cache = &self.controller.shared.claims;
        claims
            .into_iter()
            .filter_map(|claim| cache.get(&Key::of(&claim)))
    }
}

impl Claims for Cached<'_> {
    fn are_owned(&self, pod: &Pod, ordinal: i32) -> bool {
        self.of(ordinal)
            .all(|claim| owners(&claim, self.set, pod, ordinal).is_none())
    }

    fn are_stale(&self, ordinal: i32) -> bool {
        let pod = pod_name(self.set, ordinal);
        deletes_when_scaled(self.set)
            && self
                .of(ordinal)
                .any(|claim| has_stale_pod(&claim, &pod, ""))
    }
}

impl Controller {
    /// Carries out one step after the other, pods that come together together.
    pub(super) async fn carry_out(
        &self,
        key: &Key,
        set: &StatefulSet,
        steps: Vec<Step>,
    ) -> Result<(), Error> {
        let mut batch = 1;
        let mut left = steps.as_slice();
        while let Some(step) = left.first() {
            let creations = left
                .iter()
                .take_while(|step| matches!(step, Step::Create(..)))
                .count();
            let count = creations.min(batch).max(1);
            if creations > 0 {
                // Slow start: a set whose pods are all refused costs one request, not hundreds.
                batch = (batch * 2).min(500);
                let creations = left[..count].iter().filter_map(|step| match step {
                    Step::Create(pod, ordinal) => Some(self.create(key, set, pod, *ordinal)),
                    _ => None,
                });
                for done in join_all(creations).await {
                    done?;
                }
            } else {
                self.carry_out_one(key, set, step).await?;
            }
            left = &left[count..];
        }
        Ok(())
    }

    async fn carry_out_one(&self, key: &Key, set: &StatefulSet, step: &Step) -> Result<(), Error> {
        match step {
            Step::Create(pod, ordinal) => self.create(key, set, pod, *ordinal).await,
            Step::Claims(pod, ordinal) => {
                self.create_claims(key, set, pod, *ordinal).await?;
                self.retain(key, set, pod, *ordinal).await
            }
            Step::Fix(pod, ordinal) => self.fix(key, set, pod, *ordinal).await,
            Step::Retain(pod, ordinal) => self.retain(key, set, pod, *ordinal).await,
            Step::Delete(pod) | Step::Update(pod) => self.delete(set, pod).await,
        }
    }

    fn api<K>(&self, set: &StatefulSet) -> Api<K>
    where
        K: ::kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.shared.client.clone(), namespace(&set.metadata))
    }

    fn tell(&self, set: &StatefulSet, verb: Verb, pod: &str, error: Option<&Error>) {
        let set_name = name(&set.metadata);
        let Verb { word, done, failed } = verb;
        match error {
            None => {
                let message = format!("{word} Pod {pod} in StatefulSet {set_name} successful");
                self.recorder.normal(set, done, message);
            }
            Some(error) => {
                let message =
                    format!("{word} Pod {pod} in StatefulSet {set_name} failed error: {error}");
                self.recorder.warning(set, failed, message);
            }
        }
    }

    async fn create(
        &self,
        key: &Key,
        set: &StatefulSet,
        pod: &Pod,
        ordinal: i32,
    ) -> Result<(), Error> {
        let pod_name = name(&pod.metadata).to_owned();
        if let Err(error) = self.create_claims(key, set, pod, ordinal).await {
            self.tell(set, CREATE, &pod_name, Some(&error));
            return Err(error);
        }
        match self.api::<Pod>(set).create(&post(), pod).await {
            Ok(created) => {
                self.written_pods.wrote(key, &created.metadata);
                self.tell(set, CREATE, &pod_name, None);
                Ok(())
            }
            Err(error) if has_code(&error, 409) => Err(error.into()),
            Err(error) => {
                let error = error.into();
                self.tell(set, CREATE, &pod_name, Some(&error));
                Err(error)
            }
        }
    }

    async fn create_claims(
        &self,
        key: &Key,
        set: &StatefulSet,
        pod: &Pod,
        ordinal: i32,
    ) -> Result<(), Error> {
        let (set_name, pod_name) = (name(&set.metadata), name(&pod.metadata));
        let mut problem = None;
        for claim in claims_for(set, ordinal) {
            let claim_name = name(&claim.metadata);
            if let Some(known) = self.shared.claims.get(&Key::of(&claim)) {
                if is_terminating(&known.metadata) {
                    problem.get_or_insert_with(|| format!("pvc {claim_name} is being deleted"));
                }
                continue;
            }
            match self.api(set).create(&post(), &claim).await {
                Ok(created) => {
                    self.written_claims.wrote(key, &created.metadata);
                    let message = format!(
                        "Create Claim {claim_name} Pod {pod_name} in StatefulSet {set_name} success"
                    );
                    self.recorder.normal(set, "SuccessfulCreate", message);
                }
                Err(error) => {
                    let said = api_message(&error);
                    if !has_code(&error, 409) {
                        let message = format!(
                            "Create Claim {claim_name} for Pod {pod_name} in StatefulSet \
                             {set_name} failed error: {said}"
                        );
                        self.recorder.warning(set, "FailedCreate", message);
                    }
                    problem.get_or_insert_with(|| {
                        format!("failed to create PVC {claim_name}: {said}")
                    });
                }
            }
        }
        problem.map_or(Ok(()), |problem| Err(Error::Replicas(problem)))
    }

    /// Gives the claims of a pod the owners that the retention policy wants.
    async fn retain(
        &self,
        key: &Key,
        set: &StatefulSet,
        pod: &Pod,
        ordinal: i32,
    ) -> Result<(), Error> {
        for wanted in claims_for(set, ordinal) {
            let Some(known) = self.shared.claims.get(&Key::of(&wanted)) else {
                continue;
            };
            let Some(owners) = owners(&known, set, pod, ordinal) else {
                continue;
            };
            let mut changed = (*known).clone();
            changed.metadata.owner_references = (!owners.is_empty()).then_some(owners);
            let stored = self
                .api::<PersistentVolumeClaim>(set)
                .replace(name(&changed.metadata), &post(), &changed)
                .await?;
            self.written_claims.wrote(key, &stored.metadata);
        }
        Ok(())
    }

    async fn fix(
        &self,
        key: &Key,
        set: &StatefulSet,
        pod: &Pod,
        ordinal: i32,
    ) -> Result<(), Error> {
        self.create_claims(key, set, pod, ordinal).await?;
        self.retain(key, set, pod, ordinal).await?;
        let mut changed = pod.clone();
        identify(set, &mut changed, ordinal);
        furnish(set, &mut changed, ordinal);
        if changed == *pod {
            return Ok(());
        }
        let pod_name = name(&pod.metadata);
        match self
            .api::<Pod>(set)
            .replace(pod_name, &post(), &changed)
            .await
        {
            Ok(stored) => {
                self.written_pods.wrote(key, &stored.metadata);
                self.tell(set, UPDATE, pod_name, None);
                Ok(())
            }
            Err(error) => {
                let error = error.into();
                self.tell(set, UPDATE, pod_name, Some(&error));
                Err(error)
            }
        }
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
        let preconditions = Preconditions {
            uid: pod.metadata.uid.clone(),
            ..Preconditions::default()
        };
        let params = DeleteParams::default().preconditions(preconditions);
        let pod_name = name(&pod.metadata);
        match self.api::<Pod>(set).delete(pod_name, &params).await {
            Err(error) if !has_code(&error, 404) => {
                let error = error.into();
                self.tell(set, DELETE, pod_name, Some(&error));
                Err(error)
            }
            _ => {
                self.tell(set, DELETE, pod_name, None);
                Ok(())
            }
        }
    }
}

/// A word of events, and their reasons.
#[derive(Clone, Copy)]
struct Verb {
    word: &'static str,
    done: &'static str,
    failed: &'static str,
}

const CREATE: Verb = Verb {
    word: "Create",
    done: "SuccessfulCreate",
    failed: "FailedCreate",
};
const UPDATE: Verb = Verb {
    word: "Update",
    done: "SuccessfulUpdate",
    failed: "FailedUpdate",
};
const DELETE: Verb = Verb {
    word: "Delete",
    done: "SuccessfulDelete",
    failed: "FailedDelete",
};
