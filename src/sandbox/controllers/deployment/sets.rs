//! The ReplicaSets of one Deployment: finding, adopting, creating and forgetting them
//! (pkg/controller/deployment/sync.go).

use ::kube::Api;
use ::kube::api::DeleteParams;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::revision::{
    REVISION, TEMPLATE_HASH, revision, same_template, set_deployment_revision, set_new_annotations,
    template_hash,
};
use super::{Controller, rolling, status};
use crate::clock;
use crate::sandbox::controllers::claim::{candidates, claimed, controller_reference};
use crate::sandbox::controllers::objects::{
    annotation, api_message, has_code, is_controlled_by, is_namespace_terminating, is_terminating,
    name, uid,
};
use crate::sandbox::controllers::{Error, post};

/// The ReplicaSets of a Deployment: the one of its present template, and the others, oldest first.
#[derive(Debug, Default)]
pub(super) struct Sets {
    pub(super) new: Option<ReplicaSet>,
    pub(super) old: Vec<ReplicaSet>,
}

impl Sets {
    /// Finds the new one: the oldest whose template is the Deployment's (`FindNewReplicaSet`).
    pub(super) fn sort(deployment: &Deployment, mut sets: Vec<ReplicaSet>) -> Self {
        sets.sort_by(|a, b| {
            let by_age = a
                .metadata
                .creation_timestamp
                .cmp(&b.metadata.creation_timestamp);
            by_age.then_with(|| a.metadata.name.cmp(&b.metadata.name))
        });
        let place = sets.iter().position(|set| {
            let template = set.spec.template.as_ref();
            template.is_some_and(|template| same_template(template, &deployment.spec.template))
        });
        let new = place.map(|place| sets.remove(place));
        Self { new, old: sets }
    }

    /// The old ones, then the new one.
    pub(super) fn all(&self) -> Vec<&ReplicaSet> {
        self.old.iter().chain(&self.new).collect()
    }

    /// `spec.replicas` of all together.
    pub(super) fn total(&self) -> i32 {
        self.all()
            .into_iter()
            .map(|set| rolling::Set::of(set).replicas)
            .sum()
    }

    /// The number for the next template.
    fn next_revision(&self) -> i64 {
        self.old
            .iter()
            .map(|set| revision(&set.metadata))
            .max()
            .unwrap_or(0)
            + 1
    }
}

impl Controller {
    /// The ReplicaSets that are the Deployment's, after adoption and release.
    pub(super) async fn claimed(&self, deployment: &Deployment) -> Result<Vec<ReplicaSet>, Error> {
        let sets = candidates(&self.shared.replica_sets, &deployment.metadata);
        let selector = &deployment.spec.selector;
        let claimed = claimed(&self.shared.client, deployment, selector, sets, |_| true).await?;
        Ok(claimed.iter().map(|set| (**set).clone()).collect())
    }

    /// Keeps revision numbers and copied annotations of an existing new ReplicaSet current.
    pub(super) async fn renew_annotations(
        &self,
        deployment: &mut Deployment,
        sets: &mut Sets,
    ) -> Result<(), Error> {
        let next = sets.next_revision();
        let Some(new) = &mut sets.new else {
            return Ok(());
        };
        let mut changed = new.clone();
        let annotated = set_new_annotations(deployment, &mut changed, next, true);
        let min_ready = deployment.spec.min_ready_seconds.unwrap_or(0);
        if annotated || changed.spec.min_ready_seconds.unwrap_or(0) != min_ready {
            changed.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
            *new = self.put_set(&changed).await?;
        }
        let number = annotation(&new.metadata, REVISION)
            .unwrap_or_default()
            .to_owned();
        let mut changed = set_deployment_revision(deployment, &number);
        let mut status = deployment.status.clone().unwrap_or_default();
        if status::deadline(deployment).is_some()
            && status::condition(&status, "Progressing").is_none()
        {
            let message = format!("Found new replica set \"{}\"", name(&new.metadata));
            let told = ("Progressing", "True", "FoundNewReplicaSet", message);
            status::set_condition(&mut status, told, clock::now());
            deployment.status = Some(status);
            changed = true;
        }
        if changed {
            self.put_status(deployment).await?;
        }
        Ok(())
    }

    /// Creates the ReplicaSet of the present template if there is none (`getNewReplicaSet`).
    pub(super) async fn ensure_new(
        &self,
        deployment: &mut Deployment,
        sets: &mut Sets,
    ) -> Result<(), Error> {
        if sets.new.is_some() {
            return Ok(());
        }
        let mut set = new_set(deployment);
        let replicas = rolling::new_set_size(deployment, sets.total(), 0);
        set.spec.replicas = Some(replicas);
        let number = sets.next_revision();
        set_new_annotations(deployment, &mut set, number, false);
        let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.shared.client.clone(), &namespace);
        let set_name = name(&set.metadata).to_owned();
        let (created, is_new) = match api.create(&post(), &set).await {
            Ok(created) => (created, true),
            Err(error) if has_code(&error, 409) => (
                self.collided(deployment, &api, &set_name, error).await?,
                false,
            ),
            Err(error) if is_namespace_terminating(&error) => return Err(error.into()),
            Err(error) => {
                let message = api_message(&error);
                let message = format!("Failed to create new replica set \"{set_name}\": {message}");
                if status::deadline(deployment).is_some() {
                    let told = (
                        "Progressing",
                        "False",
                        "ReplicaSetCreateError",
                        message.clone(),
                    );
                    self.tell(deployment, told).await?;
                }
                self.recorder
                    .warning(deployment, "ReplicaSetCreateError", message);
                return Err(error.into());
            }
        };
        if is_new && replicas > 0 {
            let message = format!("Scaled up replica set {set_name} from 0 to {replicas}");
            self.recorder
                .normal(deployment, "ScalingReplicaSet", message);
        }
        let mut changed = set_deployment_revision(deployment, &number.to_string());
        if is_new && status::deadline(deployment).is_some() {
            let mut status = deployment.status.clone().unwrap_or_default();
            let message = format!("Created new replica set \"{set_name}\"");
            let told = ("Progressing", "True", "NewReplicaSetCreated", message);
            status::set_condition(&mut status, told, clock::now());
            deployment.status = Some(status);
            changed = true;
        }
        sets.new = Some(created);
        if changed {
            self.put_status(deployment).await?;
        }
        Ok(())
    }

    /// The name is taken: by ourselves a moment ago (the cache lags), or by another template with
    /// the same hash, which is then counted so that the next try has another name.
    async fn collided(
        &self,
        deployment: &mut Deployment,
        api: &Api<ReplicaSet>,
        set_name: &str,
        error: ::kube::Error,
    ) -> Result<ReplicaSet, Error> {
        let found = api.get_opt(set_name).await?;
        let ours = found.filter(|found| {
            let template = found.spec.template.as_ref();
            is_controlled_by(&found.metadata, uid(&deployment.metadata))
                && template.is_some_and(|found| same_template(found, &deployment.spec.template))
        });
        if let Some(found) = ours {
            return Ok(found);
        }
        if is_namespace_terminating(&error) {
            return Err(error.into());
        }
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        deployment.status = Some(status);
        self.put_status(deployment).await?;
        Err(error.into())
    }

    async fn tell(&self, deployment: &mut Deployment, told: status::Told<'_>) -> Result<(), Error> {
        let mut status = deployment.status.clone().unwrap_or_default();
        status::set_condition(&mut status, told, clock::now());
        deployment.status = Some(status);
        self.put_status(deployment).await
    }

    /// Stores a changed ReplicaSet.
    pub(super) async fn put_set(&self, set: &ReplicaSet) -> Result<ReplicaSet, Error> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.shared.client.clone(), namespace);
        Ok(api.replace(name(&set.metadata), &post(), set).await?)
    }

    /// Deletes the oldest of the idle ReplicaSets beyond the history limit (`cleanupDeployment`).
    pub(super) async fn clean_up(&self, deployment: &Deployment, sets: &Sets) -> Result<(), Error> {
        let limit = deployment.spec.revision_history_limit.unwrap_or(10);
        let Ok(limit) = usize::try_from(limit) else {
            return Ok(());
        };
        if deployment.spec.revision_history_limit == Some(i32::MAX) {
            return Ok(());
        }
        let mut alive: Vec<&ReplicaSet> = sets
            .old
            .iter()
            .filter(|set| !is_terminating(&set.metadata))
            .collect();
        let surplus = alive.len().saturating_sub(limit);
        alive.sort_by_key(|set| revision(&set.metadata));
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.shared.client.clone(), namespace);
        for set in alive.into_iter().take(surplus) {
            let status = set.status.clone().unwrap_or_default();
            let lags = set.metadata.generation > status.observed_generation;
            if status.replicas != 0 || set.spec.replicas != Some(0) || lags {
                continue;
            }
            match api
                .delete(name(&set.metadata), &DeleteParams::default())
                .await
            {
                Ok(_) => {}
                Err(error) if has_code(&error, 404) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The ReplicaSet of the Deployment's present template, without a size.
fn new_set(deployment: &Deployment) -> ReplicaSet {
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = template_hash(&deployment.spec.template, collisions);
    let PodTemplateSpec { metadata, spec } = deployment.spec.template.clone();
    let mut metadata = metadata.unwrap_or_default();
    metadata
        .labels
        .get_or_insert_default()
        .insert(TEMPLATE_HASH.to_owned(), hash.clone());
    let mut selector = deployment.spec.selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(TEMPLATE_HASH.to_owned(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name(&deployment.metadata))),
            namespace: deployment.metadata.namespace.clone(),
            labels: metadata.labels.clone(),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: None,
            min_ready_seconds: deployment.spec.min_ready_seconds,
            selector,
            template: Some(PodTemplateSpec {
                metadata: Some(metadata),
                spec,
            }),
        },
        status: None,
    }
}
