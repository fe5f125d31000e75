//! Sizing the ReplicaSets of a Deployment (pkg/controller/deployment/sync.go `scale`,
//! `scaleReplicaSet`): the numbers come from [`super::rolling`], the writing is here.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::Controller;
use super::revision::{desired_replicas, set_replica_annotations};
use super::rolling::{self, Set};
use super::sets::Sets;
use crate::sandbox::controllers::Error;
use crate::sandbox::controllers::objects::name;

impl Controller {
    /// Brings the sizes to a changed `spec.replicas` without going on with the rollout.
    pub(super) async fn scale(
        &self,
        deployment: &Deployment,
        sets: &mut Sets,
    ) -> Result<(), Error> {
        let wanted = rolling::wanted(deployment);
        let active: Vec<usize> = (0..sets.old.len())
            .filter(|index| Set::of(&sets.old[*index]).replicas > 0)
            .collect();
        let new_is_active = sets
            .new
            .as_ref()
            .is_some_and(|new| Set::of(new).replicas > 0);
        // The only one with pods, or the newest if none has any (`FindActiveOrLatest`).
        match (active.as_slice(), new_is_active, sets.new.is_some()) {
            ([], _, true) => {
                self.resize_new(deployment, sets, wanted).await?;
                return Ok(());
            }
            ([], _, false) => {
                if let Some(last) = sets.old.len().checked_sub(1) {
                    self.resize_old(deployment, sets, last, wanted).await?;
                }
                return Ok(());
            }
            ([only], false, _) => {
                let only = *only;
                self.resize_old(deployment, sets, only, wanted).await?;
                return Ok(());
            }
            _ => {}
        }
        if sets
            .new
            .as_ref()
            .is_some_and(|new| is_saturated(deployment, new))
        {
            for index in active {
                self.resize_old(deployment, sets, index, 0).await?;
            }
            return Ok(());
        }
        if !rolling::is_rolling(deployment) {
            return Ok(());
        }
        let sizes: Vec<(String, i32)> = {
            let mut sorted = sets.all();
            sorted.retain(|set| Set::of(set).replicas > 0);
            rolling::by_size(deployment, &mut sorted);
            let sizes = rolling::proportional_sizes(deployment, &sorted);
            sorted
                .iter()
                .map(|set| name(&set.metadata).to_owned())
                .zip(sizes)
                .collect()
        };
        for (set_name, size) in sizes {
            if let Some(set) = sets
                .new
                .as_mut()
                .filter(|set| name(&set.metadata) == set_name)
            {
                *set = self.resize(deployment, set, size).await?;
            } else if let Some(set) = sets
                .old
                .iter_mut()
                .find(|set| name(&set.metadata) == set_name)
            {
                *set = self.resize(deployment, set, size).await?;
            }
        }
        Ok(())
    }

    /// Grows (or shrinks) the new ReplicaSet as far as this step allows; says whether it did.
    pub(super) async fn grow_new(
        &self,
        deployment: &Deployment,
        sets: &mut Sets,
    ) -> Result<bool, Error> {
        let Some(new) = &sets.new else {
            return Ok(false);
        };
        let (size, wanted) = (Set::of(new).replicas, rolling::wanted(deployment));
        let size = match size.cmp(&wanted) {
            std::cmp::Ordering::Equal => return Ok(false),
            std::cmp::Ordering::Greater => wanted,
            std::cmp::Ordering::Less => rolling::new_set_size(deployment, sets.total(), size),
        };
        self.resize_new(deployment, sets, size).await
    }

    /// Shrinks the old ReplicaSets as far as this step allows; says whether it did.
    pub(super) async fn shrink_old(
        &self,
        deployment: &Deployment,
        sets: &mut Sets,
    ) -> Result<bool, Error> {
        let Some(new) = &sets.new else {
            return Ok(false);
        };
        let old: Vec<Set> = sets.old.iter().map(Set::of).collect();
        let sizes = rolling::old_set_sizes(deployment, &old, &Set::of(new));
        let mut shrunk = false;
        for (index, size) in sizes.into_iter().enumerate() {
            shrunk |= self.resize_old(deployment, sets, index, size).await?;
        }
        Ok(shrunk)
    }

    /// Gives the new ReplicaSet this size; says whether it had another.
    pub(super) async fn resize_new(
        &self,
        deployment: &Deployment,
        sets: &mut Sets,
        size: i32,
    ) -> Result<bool, Error> {
        match &mut sets.new {
            Some(set) if Set::of(set).replicas != size => {
                *set = self.resize(deployment, set, size).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Gives this old ReplicaSet this size; says whether it had another.
    pub(super) async fn resize_old(
        &self,
        deployment: &Deployment,
        sets: &mut Sets,
        index: usize,
        size: i32,
    ) -> Result<bool, Error> {
        match sets.old.get_mut(index) {
            Some(set) if Set::of(set).replicas != size => {
                *set = self.resize(deployment, set, size).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn resize(
        &self,
        deployment: &Deployment,
        set: &ReplicaSet,
        size: i32,
    ) -> Result<ReplicaSet, Error> {
        let before = Set::of(set).replicas;
        let mut changed = set.clone();
        changed.spec.replicas = Some(size);
        let annotated = set_replica_annotations(deployment, &mut changed);
        if before == size && !annotated {
            return Ok(changed);
        }
        let stored = self.put_set(&changed).await?;
        if before != size {
            let direction = if before < size { "up" } else { "down" };
            let set_name = name(&set.metadata);
            let message =
                format!("Scaled {direction} replica set {set_name} from {before} to {size}");
            self.recorder
                .normal(deployment, "ScalingReplicaSet", message);
        }
        Ok(stored)
    }
}

/// Whether the new ReplicaSet has all the pods, and all of them are available.
fn is_saturated(deployment: &Deployment, new: &ReplicaSet) -> bool {
    let wanted = rolling::wanted(deployment);
    let set = Set::of(new);
    set.replicas == wanted
        && desired_replicas(&new.metadata) == Some(wanted)
        && set.available == wanted
}
