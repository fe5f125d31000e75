//! When the change happened that made endpoints what they are: kept in an annotation, so that the delay
//! of the whole chain can be measured (k8s.io/endpointslice/trigger_time_tracker.go).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};

use crate::sandbox::controllers::informer::Key;
use crate::sandbox::controllers::objects::{name, pod_condition};

/// The annotation.
pub const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

#[derive(Debug, Default)]
struct Known {
    service: Option<Timestamp>,
    pods: BTreeMap<String, Timestamp>,
}

/// The times that were seen, by Service.
#[derive(Debug, Default)]
pub struct Triggers(Mutex<BTreeMap<Key, Known>>);

impl Triggers {
    /// The earliest change since the last call for this Service, as the annotation has it; at the
    /// first call the Service's creation.
    pub fn of(&self, key: &Key, service: &Service, pods: &[Arc<Pod>]) -> Option<String> {
        let created = service.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let times: BTreeMap<String, Timestamp> = pods
            .iter()
            .filter_map(|pod| Some((name(&pod.metadata).to_owned(), last_change(pod)?)))
            .collect();
        let mut map = self.map();
        let first = !map.contains_key(key);
        let known = map.entry(key.clone()).or_default();
        let changed = times
            .iter()
            .filter(|(pod, time)| known.pods.get(*pod).is_none_or(|known| *time > known))
            .map(|(_, time)| *time);
        let changed = changed.chain(created.filter(|time| Some(*time) > known.service));
        let earliest = changed.min();
        known.pods = times;
        known.service = created;
        let told = if first { created } else { earliest };
        told.map(|time| time.to_string())
    }

    /// The Service is gone.
    pub fn forget(&self, key: &Key) {
        self.map().remove(key);
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Known>> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

fn last_change(pod: &Pod) -> Option<Timestamp> {
    let ready = pod_condition(pod, "Ready")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_time_is_the_services_then_the_earliest_change() {
        let service: Service = serde_json::from_value(json!({"metadata": {"name": "s",
            "creationTimestamp": "2026-01-01T00:00:00Z"}}))
        .unwrap();
        let pod = |name: &str, at: &str| {
            let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name},
                "status": {"conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": at}]}}))
            .unwrap();
            Arc::new(pod)
        };
        let (triggers, key) = (Triggers::default(), Key::new("d", "s"));
        let (early, late) = ("2026-01-01T00:00:05Z", "2026-01-01T00:00:09Z");
        let of = |pods: &[Arc<Pod>]| triggers.of(&key, &service, pods);
        assert_eq!(of(&[]).as_deref(), Some("2026-01-01T00:00:00Z"));
        let both = [pod("a", late), pod("b", early)];
        assert_eq!(of(&both).as_deref(), Some(early));
        assert_eq!(of(&both), None);
    }
}
