//! Which namespaces a term means (`plugins/interpodaffinity/plugin.go`, `mergeAffinityTermNamespacesIfNotEmpty`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::PodClass;
use crate::model::pod_affinity::PodAffinityTerm;
use crate::model::selector::Labels;

/// The namespaces of the cluster.
#[derive(Debug, Clone)]
pub(super) struct Namespaces(pub(super) Arc<HashMap<String, Arc<Labels>>>);

impl Namespaces {
    /// Whether a term of the incoming pod means pods of this class. A selector that an object without any
    /// labels satisfies (`NotIn`, `DoesNotExist`, an empty one) means all namespaces: so upstream has it,
    /// which means to put the selector aside once it has found the namespaces, but does so in a copy.
    pub(super) fn incoming(&self, term: &PodAffinityTerm, there: &PodClass) -> bool {
        let namespace = &there.namespace;
        let meant = term.namespaces.contains(namespace)
            || term.namespace_selector.as_ref().is_some_and(|selector| {
                selector.matches(&Labels::new())
                    || self.0.get(namespace).is_some_and(|l| selector.matches(l))
            });
        meant
            && term
                .selector
                .as_ref()
                .is_some_and(|s| s.matches(&there.labels))
    }

    /// Whether a term of a pod there means the incoming one. A namespace that is not known has no labels.
    pub(super) fn existing(&self, term: &PodAffinityTerm, incoming: &PodClass) -> bool {
        let none = Labels::new();
        let labels = self.0.get(&incoming.namespace).map_or(&none, |l| l);
        term.matches(&incoming.namespace, labels, &incoming.labels)
    }
}
