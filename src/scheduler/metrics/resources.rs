//! `/metrics/resources`: what each pod asks for and is limited to
//! (`pkg/scheduler/metrics/resources/resources.go`), in Prometheus' text format.

use std::fmt::Write as _;

use crate::cluster::{Cache, PodInfo};
use crate::model::Resources;

/// The page. Pods that have finished are not on it.
#[must_use]
pub fn page(cache: &Cache) -> String {
    let mut pods = cache.all_pods();
    pods.sort_by(|(a, _), (b, _)| a.pod.key.cmp(&b.pod.key));
    let mut text = String::new();
    for (name, what) in [
        ("kube_pod_resource_limit", "limit for"),
        ("kube_pod_resource_request", "requested by"),
    ] {
        let mut lines = String::new();
        for (pod, node) in &pods {
            let amounts = if name.ends_with("limit") {
                pod.spec.limits.as_deref()
            } else {
                Some(&pod.spec.requests.total)
            };
            if let Some(amounts) = amounts {
                write_pod(
                    &mut lines,
                    name,
                    pod,
                    node.as_deref().unwrap_or_default(),
                    amounts,
                );
            }
        }
        if !lines.is_empty() {
            let help = format!(
                "[STABLE] Resources {what} workloads on the cluster, broken down by pod. This shows the resource \
                 usage the scheduler and kubelet expect per pod for resources along with the unit for the \
                 resource if any."
            );
            // Writing to a String cannot fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{lines}");
        }
    }
    text
}

fn write_pod(text: &mut String, name: &str, pod: &PodInfo, node: &str, amounts: &Resources) {
    let mut line = |resource: &str, unit: &str, value: String| {
        let _ = writeln!(
            text,
            "{name}{{namespace=\"{}\",node=\"{node}\",pod=\"{}\",priority=\"{}\",resource=\"{resource}\",\
             scheduler=\"{}\",unit=\"{unit}\"}} {value}",
            pod.pod.key.namespace, pod.pod.key.name, pod.spec.priority, pod.pod.scheduler_name,
        );
    };
    if amounts.milli_cpu != 0 {
        line("cpu", "cores", cores(amounts.milli_cpu));
    }
    for (resource, amount) in [
        ("ephemeral-storage", amounts.ephemeral_storage),
        ("memory", amounts.memory),
    ] {
        if amount != 0 {
            line(resource, "bytes", amount.to_string());
        }
    }
    for (resource, amount) in amounts.scalars.iter().filter(|(_, amount)| *amount != 0) {
        let unit = if resource.starts_with("hugepages-") {
            "bytes"
        } else if resource.starts_with("attachable-volumes-") {
            "integer"
        } else {
            ""
        };
        line(resource, unit, amount.to_string());
    }
}

fn cores(milli: i64) -> String {
    let text = format!("{}.{:03}", milli / 1000, (milli % 1000).abs());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::cluster::ClusterEvent;

    #[test]
    fn one_line_for_each_pod_and_resource() {
        let cache = Cache::new();
        for (name, node) in [("b", "n1"), ("a", "")] {
            let pod = json!({"metadata":{"namespace":"d","name":name,"uid":name},
                "spec":{"nodeName":node,"schedulerName":"s","priority":7,"containers":[{"name":"c","resources":{
                    "requests":{"cpu":"1500m","memory":"1Ki","x.io/gpu":"2"},"limits":{"cpu":"2"}}}]}});
            let pod = serde_json::from_value(pod).unwrap();
            cache.apply(ClusterEvent::Pod(Arc::new(pod)));
        }
        let page = page(&cache);
        for line in [
            "# TYPE kube_pod_resource_limit gauge",
            "kube_pod_resource_limit{namespace=\"d\",node=\"\",pod=\"a\",priority=\"7\",resource=\"cpu\",scheduler=\"s\",unit=\"cores\"} 2",
            "kube_pod_resource_request{namespace=\"d\",node=\"n1\",pod=\"b\",priority=\"7\",resource=\"cpu\",scheduler=\"s\",unit=\"cores\"} 1.5",
            "kube_pod_resource_request{namespace=\"d\",node=\"n1\",pod=\"b\",priority=\"7\",resource=\"memory\",scheduler=\"s\",unit=\"bytes\"} 1024",
            "kube_pod_resource_request{namespace=\"d\",node=\"n1\",pod=\"b\",priority=\"7\",resource=\"x.io/gpu\",scheduler=\"s\",unit=\"\"} 2",
        ] {
            assert!(page.lines().any(|l| l == line), "{line}\n{page}");
        }
        assert_eq!(page.lines().filter(|l| !l.starts_with('#')).count(), 8);
    }
}
