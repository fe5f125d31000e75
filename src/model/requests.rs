//! What a pod asks for: init containers, sidecars, overhead, pod-level requests and in-place resizes.
//!
//! The rules are those of `component-helpers/resource/helpers.go` (v1.36): the larger of what runs for
//! long (containers and sidecars) and what any init container needs beside the sidecars started before
//! it; then pod-level requests replace the sum; then overhead is added.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;

use super::Error;
use super::resources::Resources;

/// What a container without a cpu request counts for when scoring, in thousandths.
pub const DEFAULT_MILLI_CPU: i64 = 100;
/// What a container without a memory request counts for when scoring, in bytes.
pub const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// A pod's requests in the shapes the scheduler computes with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodRequests {
    /// The true request: filters, and what the pod takes of its node.
    pub total: Resources,
    /// The same with defaults for missing cpu and memory: what the pod counts for in scores of others.
    pub non_zero: Resources,
    /// With defaults and without pod-level requests: how NodeResourcesFit scores the pod itself (its
    /// scorer was never told of pod-level resources upstream).
    pub scoring: Resources,
}

impl PodRequests {
    /// Computes them.
    ///
    /// # Errors
    /// [`Error`] naming the field of the first quantity that cannot be understood.
    pub fn from_api(pod: &api::Pod, object: &dyn Fn() -> String) -> Result<Self, Error> {
        let reader = Reader { pod, object };
        let plain = reader.aggregate(false)?;
        let defaulted = reader.aggregate(true)?;
        let overhead = pod.spec.as_ref().and_then(|s| s.overhead.as_ref());
        let overhead = reader.read(overhead, || "spec.overhead".into())?;
        let finish = |mut sum: Resources| {
            sum.add(&overhead);
            sum.pods = 0;
            sum
        };
        Ok(Self {
            scoring: finish(defaulted.clone()),
            total: finish(reader.with_pod_level(plain)?),
            non_zero: finish(reader.with_pod_level(defaulted)?),
        })
    }
}

struct Reader<'a> {
    pod: &'a api::Pod,
    object: &'a dyn Fn() -> String,
}

type List = BTreeMap<String, ApiQuantity>;

impl Reader<'_> {
    fn read(&self, list: Option<&List>, path: impl Fn() -> String) -> Result<Resources, Error> {
        let Some(list) = list else {
            return Ok(Resources::default());
        };
        Resources::from_api(list).map_err(|(key, problem)| Error {
            object: (self.object)(),
            field: format!("{}[{key}]", path()),
            problem,
        })
    }

    fn aggregate(&self, defaults: bool) -> Result<Resources, Error> {
        let Some(spec) = &self.pod.spec else {
            return Ok(Resources::default());
        };
        let mut sum = Resources::default();
        for (i, container) in spec.containers.iter().enumerate() {
            let path = || format!("spec.containers[{i}].resources.requests");
            sum.add(&self.container(container, false, defaults, path)?);
        }
        let mut sidecars = Resources::default();
        let mut init = Resources::default();
        for (i, container) in spec.init_containers.iter().flatten().enumerate() {
            let path = || format!("spec.initContainers[{i}].resources.requests");
            let sidecar = is_sidecar(container);
            let mut request = self.container(container, !sidecar, defaults, path)?;
            if sidecar {
                sum.add(&request);
                sidecars.add(&request);
                request = sidecars.clone();
            } else {
                request.add(&sidecars);
            }
            init.max(&request);
        }
        sum.max(&init);
        Ok(sum)
    }

    /// One container's request: the spec's, or after an in-place resize the larger of what is asked
    /// for, allocated and in force (what is asked for does not count while it is infeasible).
    fn container(
        &self,
        container: &api::Container,
        ignore_status: bool,
        defaults: bool,
        path: impl Fn() -> String,
    ) -> Result<Resources, Error> {
        let wanted = container
            .resources
            .as_ref()
            .and_then(|r| r.requests.as_ref());
        let mut request = self.read(wanted, &path)?;
        let mut has_cpu = wanted.is_some_and(|w| w.contains_key("cpu"));
        let mut has_memory = wanted.is_some_and(|w| w.contains_key("memory"));
        let status = (!ignore_status)
            .then(|| self.status_of(&container.name))
            .flatten();
        if let Some((status, actual)) = status.and_then(|s| s.resources.as_ref().map(|r| (s, r))) {
            if self.resize_is_infeasible() {
                request = Resources::default();
                has_cpu = false;
                has_memory = false;
            }
            for list in [
                actual.requests.as_ref(),
                status.allocated_resources.as_ref(),
            ] {
                request
                    .max(&self.read(list, || format!("status of container {}", container.name))?);
                has_cpu |= list.is_some_and(|l| l.contains_key("cpu"));
                has_memory |= list.is_some_and(|l| l.contains_key("memory"));
            }
        }
        if defaults && !has_cpu {
            request.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if defaults && !has_memory {
            request.memory = DEFAULT_MEMORY;
        }
        Ok(request)
    }

    fn status_of(&self, name: &str) -> Option<&api::ContainerStatus> {
        let status = self.pod.status.as_ref()?;
        status
            .container_statuses
            .iter()
            .flatten()
            .chain(status.init_container_statuses.iter().flatten())
            .find(|s| s.name == name)
    }

    fn resize_is_infeasible(&self) -> bool {
        let status = self.pod.status.as_ref();
        status.and_then(|s| s.conditions.as_ref()).is_some_and(|c| {
            c.iter()
                .any(|c| c.type_ == "PodResizePending" && c.reason.as_deref() == Some("Infeasible"))
        })
    }

    fn with_pod_level(&self, mut sum: Resources) -> Result<Resources, Error> {
        let spec = self.pod.spec.as_ref();
        let Some(list) = spec
            .and_then(|s| s.resources.as_ref())
            .and_then(|r| r.requests.as_ref())
        else {
            return Ok(sum);
        };
        let level = self.read(Some(list), || "spec.resources.requests".into())?;
        for name in list.keys() {
            if name == "cpu" || name == "memory" || name.starts_with("hugepages-") {
                sum.set(name, level.get(name));
            }
        }
        Ok(sum)
    }
}

/// An init container that keeps running beside the others (`restartPolicy: Always`).
#[must_use]
pub fn is_sidecar(container: &api::Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(pod: serde_json::Value) -> PodRequests {
        let pod: api::Pod = serde_json::from_value(pod).unwrap();
        PodRequests::from_api(&pod, &|| "pod a/b".into()).unwrap()
    }

    fn container(cpu: &str, memory: &str) -> serde_json::Value {
        serde_json::json!({"name":"c","resources":{"requests":{"cpu":cpu,"memory":memory}}})
    }

    fn sidecar(cpu: &str, memory: &str) -> serde_json::Value {
        let mut c = container(cpu, memory);
        c["restartPolicy"] = "Always".into();
        c
    }

    #[test]
    fn sums_containers_and_takes_the_largest_init() {
        let r = requests(serde_json::json!({"metadata":{},"spec":{
            "containers":[container("1","1Gi"),container("500m","1Gi")],
            "initContainers":[container("2","1Gi"),container("1","3Gi")],
            "overhead":{"cpu":"10m"}}}));
        assert_eq!((r.total.milli_cpu, r.total.memory), (2010, 3 << 30));
    }

    #[test]
    fn sidecars_run_beside_containers_and_later_init_containers() {
        let r = requests(serde_json::json!({"metadata":{},"spec":{
            "containers":[container("1","1")],
            "initContainers":[container("3","1"),sidecar("1","1"),container("3","1")]}}));
        // containers + sidecar = 2; first init = 3; last init beside the sidecar = 4
        assert_eq!(r.total.milli_cpu, 4000);
        assert_eq!(r.total.memory, 2);
    }

    #[test]
    fn missing_requests_count_by_default_but_an_explicit_zero_does_not() {
        let r = requests(serde_json::json!({"metadata":{},"spec":{
            "containers":[{"name":"a"},{"name":"b","resources":{"requests":{"cpu":"0","memory":"0"}}}]}}));
        assert!(r.total.is_zero());
        assert_eq!(
            (r.non_zero.milli_cpu, r.non_zero.memory),
            (100, DEFAULT_MEMORY)
        );
    }

    #[test]
    fn pod_level_requests_replace_the_sum_except_when_scoring() {
        let r = requests(serde_json::json!({"metadata":{},"spec":{
            "resources":{"requests":{"cpu":"3"}},
            "containers":[container("1","1Gi")],"overhead":{"cpu":"1"}}}));
        assert_eq!(r.total.milli_cpu, 4000);
        assert_eq!(r.total.memory, 1 << 30);
        assert_eq!(r.scoring.milli_cpu, 2000);
    }

    #[test]
    fn a_resize_counts_the_larger_and_an_infeasible_one_does_not_count() {
        let mut pod = serde_json::json!({"metadata":{},"spec":{"containers":[container("4","1")]},
            "status":{"containerStatuses":[{"name":"c","image":"","imageID":"","ready":true,"restartCount":0,
                "resources":{"requests":{"cpu":"1","memory":"2"}},"allocatedResources":{"cpu":"2","memory":"1"}}]}});
        assert_eq!(requests(pod.clone()).total.milli_cpu, 4000);
        assert_eq!(requests(pod.clone()).total.memory, 2);
        pod["status"]["conditions"] = serde_json::json!([
            {"type":"PodResizePending","status":"True","reason":"Infeasible"}]);
        assert_eq!(requests(pod).total.milli_cpu, 2000);
    }

    #[test]
    fn names_the_field() {
        let pod: api::Pod = serde_json::from_value(serde_json::json!({"metadata":{},"spec":{
            "containers":[container("1","1"),container("x","1")]}}))
        .unwrap();
        let error = PodRequests::from_api(&pod, &|| "pod a/b".into()).unwrap_err();
        assert_eq!(error.field, "spec.containers[1].resources.requests[cpu]");
        assert_eq!(error.object, "pod a/b");
    }
}
