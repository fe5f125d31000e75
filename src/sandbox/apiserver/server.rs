//! The server's state, and what it makes at its start.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::registry::Registry;
use super::rules::{namespace, priority};
use super::store::{Key, LABELS, Store};
use super::{Options, meta};
use crate::sandbox::types::table;

/// Letters of generated names: no vowels, so that no words arise
/// (`k8s.io/apimachinery/pkg/util/rand`).
const ALPHANUMS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const MAX_GENERATED_BASE: usize = 63 - SUFFIX_LENGTH;

/// What big collections are often selected by: kubelets' pods, a workload's pods, an object's events.
const INDEXED: [(&str, &str, &str); 4] = [
    ("", "pods", "spec.nodeName"),
    ("", "pods", LABELS),
    ("", "events", "involvedObject.uid"),
    ("", "events", "involvedObject.name"),
];

/// Everything that requests share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    random: Mutex<StdRng>,
}

impl Server {
    pub(crate) fn new(options: &Options, now: Timestamp) -> Self {
        let registry = Registry::new(table());
        let store = Store::new(registry.collections(), options.event_log);
        for (group, plural, field) in INDEXED {
            if let Some(resource) = registry.core(group, plural) {
                store.index(resource.collection, field);
            }
        }
        let random = Mutex::new(StdRng::seed_from_u64(options.seed));
        let server = Self {
            registry,
            store,
            random,
        };
        server.bootstrap(now);
        // As of a server that was started on data from before.
        server.store.forget_history();
        server
    }

    /// Objects that every real server has: its namespaces, the system's priority classes, and the
    /// `kubernetes` service.
    fn bootstrap(&self, now: Timestamp) {
        for name in namespace::INITIAL {
            let object = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Active"},
            });
            self.seed("", "namespaces", object, now);
        }
        for (name, value, description) in priority::SYSTEM_CLASSES {
            let object = json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                "metadata": {"name": name, "generation": 1},
                "value": value, "description": description,
                "preemptionPolicy": "PreemptLowerPriority",
            });
            self.seed("scheduling.k8s.io", "priorityclasses", object, now);
        }
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {
                "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"],
                "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "type": "ClusterIP",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            },
            "status": {"loadBalancer": {}},
        });
        self.seed("", "services", service, now);
    }

    fn seed(&self, group: &str, plural: &str, mut object: Value, now: Timestamp) {
        let Some(resource) = self.registry.core(group, plural) else {
            return;
        };
        meta::set(&mut object, "uid", Some(json!(self.new_uid())));
        meta::set(&mut object, "creationTimestamp", Some(meta::time(now)));
        let key = Key::new(meta::namespace(&object), meta::name(&object));
        self.store
            .write(|tx| tx.put(resource.collection, key, object));
    }

    /// A number from the seeded generator.
    pub(crate) fn random(&self) -> u64 {
        self.random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next_u64()
    }

    /// A version 4 UUID from the seeded generator.
    pub(crate) fn new_uid(&self) -> String {
        let mut bytes = [0u8; 16];
        self.random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .to_string()
    }

    /// `base` and five random letters.
    pub(crate) fn generate_name(&self, base: &str) -> String {
        let mut name: String = base.chars().take(MAX_GENERATED_BASE).collect();
        let mut bits = self.random();
        for _ in 0..SUFFIX_LENGTH {
            let n = ALPHANUMS.len() as u64;
            name.push(char::from(
                ALPHANUMS[usize::try_from(bits % n).unwrap_or(0)],
            ));
            bits /= n;
        }
        name
    }
}
