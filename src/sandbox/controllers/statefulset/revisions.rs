//! The revisions of a StatefulSet: the one that its pods were of, and the one of its present template
//! (stateful_set_control.go, `getStatefulSetRevisions`, `truncateHistory`).

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;

use super::Controller;
use super::identity::{Version, revision_of};
use crate::sandbox::controllers::objects::name;
use crate::sandbox::controllers::{Error, history};

/// See the module.
#[derive(Debug)]
pub(super) struct Revisions {
    pub(super) current: Version,
    pub(super) update: Version,
    pub(super) collisions: i32,
    all: Vec<ControllerRevision>,
}

impl Controller {
    /// Finds, adopts and, for a new template, creates revisions.
    pub(super) async fn revisions(&self, set: &StatefulSet) -> Result<Revisions, Error> {
        let client = &self.shared.client;
        let spec = set.spec.clone();
        let all = history::of(client, &self.shared.revisions, set, &spec.selector).await?;
        let data = history::snapshot(&spec.template);
        let next = all.last().map_or(1, |last| last.revision.unwrap_or(0) + 1);
        let status = set.status.as_ref();
        let mut collisions = status
            .and_then(|status| status.collision_count)
            .unwrap_or(0);
        let same = all.iter().rposition(|known| history::holds(known, &data));
        let update = match same {
            Some(place) if place + 1 == all.len() => all[place].clone(),
            // Rolled back to: it becomes the newest.
            Some(place) => history::renumber(client, &all[place], next).await?,
            None => loop {
                let revision = history::new(set, &spec.template, next, collisions);
                match history::create(client, &revision).await? {
                    Some(created) => break created,
                    None => collisions += 1,
                }
            },
        };
        let known = status.and_then(|status| status.current_revision.as_deref());
        let current = all
            .iter()
            .find(|revision| revision.metadata.name.as_deref() == known)
            .unwrap_or(&update);
        let version = |revision: &ControllerRevision| Version {
            revision: name(&revision.metadata).to_owned(),
            template: history::template_of(revision).unwrap_or_else(|| spec.template.clone()),
        };
        Ok(Revisions {
            current: version(current),
            update: version(&update),
            collisions,
            all,
        })
    }

    /// Forgets the oldest revisions that no pod is of.
    pub(super) async fn truncate(
        &self,
        set: &StatefulSet,
        revisions: &Revisions,
        pods: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let mut live: BTreeSet<&str> = pods.iter().map(|pod| revision_of(pod)).collect();
        live.insert(&revisions.current.revision);
        live.insert(&revisions.update.revision);
        let limit = set.spec.revision_history_limit;
        let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(usize::MAX);
        let dead = Vec::from_iter(
            revisions
                .all
                .iter()
                .filter(|revision| !live.contains(name(&revision.metadata))),
        );
        for revision in &dead[..dead.len().saturating_sub(limit)] {
            history::remove(&self.shared.client, revision).await?;
        }
        Ok(())
    }
}
