//! A pod's limits, for metrics (`PodLimits` in `component-helpers/resource/helpers.go`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::requests::is_sidecar;
use super::resources::Resources;

/// The limits of a pod: the larger of what runs for long and what any init container may use beside the
/// sidecars before it; then pod-level limits replace the sum, and overhead is added to what is limited.
/// `None` if nothing is limited. A limit that cannot be read counts as none: nothing is decided on it.
#[must_use]
pub fn limits(spec: &api::PodSpec) -> Option<Box<Resources>> {
    let of = |container: &api::Container| -> Resources {
        read(container.resources.as_ref().and_then(|r| r.limits.as_ref()))
    };
    let limited = |container: &api::Container| {
        let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
        limits.is_some_and(|limits| !limits.is_empty())
    };
    let level = spec.resources.as_ref().and_then(|r| r.limits.as_ref());
    let mut all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    if level.is_none() && !all.any(limited) {
        return None;
    }
    let mut sum = Resources::default();
    for container in &spec.containers {
        sum.add(&of(container));
    }
    let (mut sidecars, mut init) = (Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let mut limits = of(container);
        if is_sidecar(container) {
            sum.add(&limits);
            sidecars.add(&limits);
            limits = sidecars.clone();
        } else {
            limits.add(&sidecars);
        }
        init.max(&limits);
    }
    sum.max(&init);
    for (name, level) in level.into_iter().flatten() {
        sum.set(
            name,
            read(Some(&[(name.clone(), level.clone())].into())).get(name),
        );
    }
    let overhead = read(spec.overhead.as_ref());
    for name in spec.overhead.iter().flatten().map(|(name, _)| name) {
        let limit = sum.get(name);
        if limit != 0 {
            sum.set(name, limit.saturating_add(overhead.get(name)));
        }
    }
    (!sum.is_zero()).then(|| Box::new(sum))
}

fn read(list: Option<&BTreeMap<String, Quantity>>) -> Resources {
    list.and_then(|list| Resources::from_api(list).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(spec: serde_json::Value) -> Option<(i64, i64)> {
        let spec: api::PodSpec = serde_json::from_value(spec).unwrap();
        limits(&spec).map(|l| (l.milli_cpu, l.memory))
    }

    fn container(cpu: &str) -> serde_json::Value {
        json!({"name":"c","resources":{"limits":{"cpu":cpu}}})
    }

    #[test]
    fn sums_sidecars_init_containers_and_overhead() {
        assert_eq!(of(json!({"containers":[{"name":"c"}]})), None);
        let mut sidecar = container("1");
        sidecar["restartPolicy"] = "Always".into();
        let spec = json!({"containers":[container("1"), container("2")],
            "initContainers":[sidecar, container("5")], "overhead":{"cpu":"500m","memory":"1"}});
        // 1 + 2 + 1 for long, 5 + 1 in the beginning; memory is not limited.
        assert_eq!(of(spec), Some((6500, 0)));
        let level = json!({"containers":[container("1")],"resources":{"limits":{"cpu":"9"}}});
        assert_eq!(of(level), Some((9000, 0)));
    }
}
