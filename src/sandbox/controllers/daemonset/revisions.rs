//! The revisions of a DaemonSet (pkg/controller/daemon/update.go, `constructHistory`, `cleanupHistory`).

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::Pod;

use super::Controller;
use crate::sandbox::controllers::Error;
use crate::sandbox::controllers::deployment::revision::template_hash;
use crate::sandbox::controllers::history::{self, REVISION_LABEL};
use crate::sandbox::controllers::objects::{label, name};

/// The revision of the present template, and the others, oldest first.
#[derive(Debug)]
pub(super) struct Revisions {
    current: ControllerRevision,
    old: Vec<ControllerRevision>,
}

impl Revisions {
    /// The label of the pods of the present template.
    pub(super) fn hash(&self) -> &str {
        label(&self.current.metadata, REVISION_LABEL).unwrap_or_default()
    }
}

impl Controller {
    /// Finds, adopts and, for a new template, creates revisions. `None` if the hash of the new
    /// template is taken: `collisions` has to be counted up.
    pub(super) async fn revisions(&self, set: &DaemonSet) -> Result<Option<Revisions>, Error> {
        let client = &self.shared.client;
        let selector = &set.spec.selector;
        let all = history::of(client, &self.shared.revisions, set, selector).await?;
        let data = history::snapshot(&set.spec.template);
        let (mut same, old): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|revision| history::holds(revision, &data));
        let newest = old.iter().filter_map(|old| old.revision).max();
        let next = newest.unwrap_or(0) + 1;
        let current = match same.pop() {
            Some(current) if current.revision.unwrap_or(0) < next => {
                history::renumber(client, &current, next).await?
            }
            Some(current) => current,
            None => {
                let collisions = set
                    .status
                    .as_ref()
                    .and_then(|status| status.collision_count);
                let hash = template_hash(&set.spec.template, collisions);
                let mut revision = history::new(set, &set.spec.template, next, 0);
                revision.metadata.name = Some(format!("{}-{hash}", name(&set.metadata)));
                let template = set.spec.template.metadata.as_ref();
                let mut labels = template
                    .and_then(|meta| meta.labels.clone())
                    .unwrap_or_default();
                labels.insert(REVISION_LABEL.to_owned(), hash);
                revision.metadata.labels = Some(labels);
                match history::create(client, &revision).await? {
                    Some(created) => created,
                    None => return Ok(None),
                }
            }
        };
        // Two that hold the same: the newest stays.
        for twin in &same {
            history::remove(client, twin).await?;
        }
        Ok(Some(Revisions { current, old }))
    }

    /// Forgets the oldest revisions that no pod is of.
    pub(super) async fn truncate(
        &self,
        set: &DaemonSet,
        revisions: &Revisions,
        pods: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let live: BTreeSet<&str> = pods
            .iter()
            .filter_map(|pod| label(&pod.metadata, REVISION_LABEL))
            .collect();
        let limit = set.spec.revision_history_limit.unwrap_or(10);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let surplus = revisions.old.len().saturating_sub(limit);
        let is_dead = |revision: &&ControllerRevision| {
            label(&revision.metadata, REVISION_LABEL).is_none_or(|hash| !live.contains(hash))
        };
        for revision in revisions.old.iter().filter(is_dead).take(surplus) {
            history::remove(&self.shared.client, revision).await?;
        }
        Ok(())
    }
}
