//! How many replicas each ReplicaSet of a Deployment gets: rolling update, proportional scaling
//! (pkg/controller/deployment/{rolling,sync}.go, util/deployment_util.go). Pure: numbers in,
//! numbers out.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::revision::max_replicas;
use crate::sandbox::controllers::objects::scaled;

/// How far a rolling update may go over and under the wanted number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenceposts {
    /// Pods above the wanted number.
    pub surge: i32,
    /// Pods below it.
    pub unavailable: i32,
}

/// The wanted number of pods.
#[must_use]
pub fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

/// Whether the Deployment is updated pod by pod, not all at once.
#[must_use]
pub fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.strategy.as_ref();
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

/// Percentages of the surge are rounded up, of the unavailable down; both zero would never get
/// anywhere, so that one pod may then be unavailable (`ResolveFenceposts`). With `Recreate` both are
/// zero.
#[must_use]
pub fn fenceposts(deployment: &Deployment) -> Fenceposts {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    if !is_rolling(deployment) {
        return Fenceposts {
            surge: 0,
            unavailable: 0,
        };
    }
    let rolling = deployment
        .spec
        .strategy
        .as_ref()
        .and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".into());
    let given =
        |value: Option<&IntOrString>, up| scaled(value.unwrap_or(&quarter), wanted(deployment), up);
    let surge = given(rolling.and_then(|rolling| rolling.max_surge.as_ref()), true);
    let unavailable = given(
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
        false,
    );
    let unavailable = if surge == 0 && unavailable == 0 {
        1
    } else {
        unavailable
    };
    Fenceposts {
        surge,
        unavailable: unavailable.min(wanted(deployment)),
    }
}

/// A ReplicaSet as the arithmetic sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `status.availableReplicas`.
    pub available: i32,
}

impl Set {
    /// What the arithmetic needs of a ReplicaSet.
    #[must_use]
    pub fn of(set: &ReplicaSet) -> Self {
        let available = set
            .status
            .as_ref()
            .and_then(|status| status.available_replicas);
        Self {
            replicas: set.spec.replicas.unwrap_or(1),
            available: available.unwrap_or(0),
        }
    }
}

/// The size for the new ReplicaSet (`NewRSNewReplicas`); `all` is the sum over all ReplicaSets of
/// the Deployment, the new one included.
#[must_use]
pub fn new_set_size(deployment: &Deployment, all: i32, new: i32) -> i32 {
    if !is_rolling(deployment) {
        return wanted(deployment);
    }
    let limit = wanted(deployment).saturating_add(fenceposts(deployment).surge);
    if all >= limit {
        return new;
    }
    new + (limit - all).min(wanted(deployment) - new)
}

/// The sizes of the `old` ReplicaSets (oldest first) after this step of a rolling update
/// (`reconcileOldReplicaSets`): first the pods that are not available, then as many available ones
/// as the wanted availability allows.
#[must_use]
pub fn old_set_sizes(deployment: &Deployment, old: &[Set], new: &Set) -> Vec<i32> {
    let mut sizes: Vec<i32> = old.iter().map(|set| set.replicas).collect();
    let old_pods: i32 = sizes.iter().sum();
    if old_pods == 0 {
        return sizes;
    }
    let floor = wanted(deployment) - fenceposts(deployment).unavailable;
    let spare = old_pods + new.replicas - floor - (new.replicas - new.available);
    if spare <= 0 {
        return sizes;
    }
    let mut left = spare;
    for (size, set) in sizes.iter_mut().zip(old) {
        if left == 0 || *size == 0 {
            continue;
        }
        if set.available > *size {
            // Its status lags behind a scaling of a moment ago: what is available is not known, and
            // upstream refuses to go on here. The status to come wakes us.
            return old.iter().map(|set| set.replicas).collect();
        }
        let unhealthy = (*size - set.available).min(left);
        *size -= unhealthy;
        left -= unhealthy;
    }
    let available = old.iter().map(|set| set.available).sum::<i32>() + new.available;
    let mut left = (available - floor).max(0);
    for size in &mut sizes {
        let gone = (*size).min(left);
        *size -= gone;
        left -= gone;
    }
    sizes
}

/// The sizes of the active ReplicaSets when a Deployment is scaled in the middle of a rollout. `sets`
/// are sorted as [`by_size`] does; the result is in their order.
#[must_use]
pub fn proportional_sizes(deployment: &Deployment, sets: &[&ReplicaSet]) -> Vec<i32> {
    let wanted = wanted(deployment);
    let limit = if wanted > 0 {
        wanted + fenceposts(deployment).surge
    } else {
        0
    };
    let mut sizes: Vec<i32> = sets.iter().map(|set| Set::of(set).replicas).collect();
    let to_add = limit - sizes.iter().sum::<i32>();
    if to_add == 0 {
        return sizes;
    }
    let mut added = 0;
    for (size, set) in sizes.iter_mut().zip(sets) {
        let share = proportion(deployment, set, to_add, added);
        *size += share;
        added += share;
    }
    // The largest takes what rounding left over.
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}

/// Sorts for [`proportional_sizes`]: largest first; of equal ones the newer first when replicas are
/// to be added, else the older.
pub fn by_size(deployment: &Deployment, sets: &mut [&ReplicaSet]) {
    let limit = wanted(deployment) + fenceposts(deployment).surge;
    let grows = limit > sets.iter().map(|set| Set::of(set).replicas).sum::<i32>();
    sets.sort_by(|a, b| {
        let by_age = a
            .metadata
            .creation_timestamp
            .cmp(&b.metadata.creation_timestamp)
            .then_with(|| a.metadata.name.cmp(&b.metadata.name));
        Set::of(b)
            .replicas
            .cmp(&Set::of(a).replicas)
            .then(if grows { by_age.reverse() } else { by_age })
    });
}

fn proportion(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if Set::of(set).replicas == 0 || to_add == added {
        return 0;
    }
    let (share, allowed) = (fraction(deployment, set), to_add - added);
    if to_add > 0 {
        share.min(allowed)
    } else {
        share.max(allowed)
    }
}

fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    let replicas = Set::of(set).replicas;
    if wanted(deployment) == 0 {
        return -replicas;
    }
    let limit = wanted(deployment) + fenceposts(deployment).surge;
    let before = max_replicas(&set.metadata)
        .filter(|before| *before != 0)
        .or_else(|| {
            deployment
                .status
                .as_ref()
                .and_then(|status| status.replicas)
                .filter(|all| *all != 0)
        });
    let Some(before) = before else { return 0 };
    let size = f64::from(replicas) * f64::from(limit) / f64::from(before);
    #[allow(clippy::cast_possible_truncation)] // Saturates; the API server limits nothing here.
    let size = size.round() as i32;
    size - replicas
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(replicas: i32, surge: Value, unavailable: Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "d"},
            "spec": {"replicas": replicas, "selector": {}, "template": {}, "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}},
        }))
        .unwrap()
    }

    fn set(replicas: i32, max: Option<i32>, created: &str) -> ReplicaSet {
        let annotations = max.map_or_else(
            || json!({}),
            |max| json!({"deployment.kubernetes.io/max-replicas": max.to_string()}),
        );
        serde_json::from_value(json!({
            "metadata": {"name": created, "annotations": annotations,
                         "creationTimestamp": format!("2026-01-01T00:00:{created}Z")},
            "spec": {"replicas": replicas, "selector": {}},
        }))
        .unwrap()
    }

    #[test]
    fn fenceposts_round_the_safe_way() {
        let posts = |replicas, surge: Value, unavailable: Value| {
            let posts = fenceposts(&deployment(replicas, surge, unavailable));
            (posts.surge, posts.unavailable)
        };
        assert_eq!(posts(10, json!("25%"), json!("25%")), (3, 2));
        assert_eq!(posts(1, json!("25%"), json!("25%")), (1, 0));
        assert_eq!(posts(3, json!(0), json!("10%")), (0, 1));
        assert_eq!(posts(2, json!(0), json!(5)), (0, 2));
    }

    #[test]
    fn the_new_set_grows_up_to_the_surge() {
        let deployment = deployment(10, json!(3), json!(2));
        assert_eq!(new_set_size(&deployment, 10, 0), 3);
        assert_eq!(new_set_size(&deployment, 13, 3), 3);
        assert_eq!(new_set_size(&deployment, 9, 8), 10);
    }

    #[test]
    fn unavailable_old_pods_go_first_then_what_availability_allows() {
        let deployment = deployment(10, json!(3), json!(2));
        let new = Set {
            replicas: 3,
            available: 0,
        };
        let healthy = [Set {
            replicas: 10,
            available: 10,
        }];
        assert_eq!(old_set_sizes(&deployment, &healthy, &new), [8]);
        let ailing = [
            Set {
                replicas: 4,
                available: 1,
            },
            Set {
                replicas: 6,
                available: 6,
            },
        ];
        // Floor 8, spare 2: two of the unavailable; seven are available, so none of them.
        assert_eq!(old_set_sizes(&deployment, &ailing, &new), [2, 6]);
        let done = Set {
            replicas: 10,
            available: 10,
        };
        assert_eq!(old_set_sizes(&deployment, &healthy, &done), [0]);
    }

    #[test]
    fn a_status_that_lags_behind_a_scaling_is_not_believed() {
        // Seen on the way: 20 replicas scaled to 7 in the middle of a rollout, the old set 14 to 6.
        let deployment = deployment(7, json!(3), json!(2));
        let new = Set {
            replicas: 4,
            available: 0,
        };
        let lagging = [Set {
            replicas: 6,
            available: 14,
        }];
        assert_eq!(old_set_sizes(&deployment, &lagging, &new), [6]);
        let current = [Set {
            replicas: 6,
            available: 6,
        }];
        assert_eq!(old_set_sizes(&deployment, &current, &new), [5]);
    }

    #[test]
    fn never_below_the_floor_of_availability() {
        for (surge, unavailable) in [(0, 1), (1, 0), (3, 2), (5, 5)] {
            let deployment = deployment(10, json!(surge), json!(unavailable));
            for available in 0..=10 {
                let old = [Set {
                    replicas: 10,
                    available,
                }];
                let new = Set {
                    replicas: 3,
                    available: 3,
                };
                let sizes = old_set_sizes(&deployment, &old, &new);
                let surely = sizes[0].min(available);
                assert!(surely + 3 >= (10 - unavailable).min(available + 3));
            }
        }
    }

    #[test]
    fn scaling_in_the_middle_of_a_rollout_is_shared_out() {
        // 10 replicas, surge 3, 8 old and 5 new; scaled to 30 (KEP text in the documentation:
        // proportionally, the remainder to the largest).
        let deployment = deployment(30, json!(3), json!(2));
        let (old, new) = (set(8, Some(13), "01"), set(5, Some(13), "02"));
        let mut sets = vec![&new, &old];
        by_size(&deployment, &mut sets);
        assert_eq!(proportional_sizes(&deployment, &sets), [20, 13]);
        assert_eq!(sets[0].metadata.name, old.metadata.name);
    }

    #[test]
    fn scaling_to_nothing_takes_all() {
        let deployment = deployment(0, json!("25%"), json!("25%"));
        let (old, new) = (set(8, Some(13), "01"), set(5, Some(13), "02"));
        let mut sets = vec![&old, &new];
        by_size(&deployment, &mut sets);
        assert_eq!(proportional_sizes(&deployment, &sets), [0, 0]);
    }
}
