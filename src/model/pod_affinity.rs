//! Affinity between pods, compiled (`staging/src/k8s.io/kube-scheduler/framework`, `AffinityTerm`).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;

use super::Error;
use super::selector::{LabelSelector, Labels};
use super::topology::TopologyKey;

/// Which pods, and what is "beside" them. `matchLabelKeys` and `mismatchLabelKeys` are in the selector
/// already: the API server merges them when a pod is created.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodAffinityTerm {
    /// The pods; `None` selects none.
    pub selector: Option<LabelSelector>,
    /// The namespaces named, or the pod's own when nothing is said.
    pub namespaces: BTreeSet<String>,
    /// Further namespaces, by their labels; `None` selects none, an empty one all.
    pub namespace_selector: Option<LabelSelector>,
    /// The label whose equal values are "beside".
    pub topology_key: TopologyKey,
}

impl PodAffinityTerm {
    fn from_api(
        term: &api::PodAffinityTerm,
        namespace: &str,
        error: &dyn Fn(&str, (String, String)) -> Error,
    ) -> Result<Self, Error> {
        let compile = |selector: Option<&ApiSelector>, name: &str| {
            let compiled = selector.map(LabelSelector::from_api).transpose();
            compiled.map_err(|problem| error(name, problem))
        };
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Ok(Self {
            selector: compile(term.label_selector.as_ref(), "labelSelector")?,
            namespaces,
            namespace_selector: compile(term.namespace_selector.as_ref(), "namespaceSelector")?,
            topology_key: TopologyKey::of(&term.topology_key),
        })
    }

    /// Whether it means a pod in this namespace (with these labels of the namespace) with these labels.
    #[must_use]
    pub fn matches(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        let there = self.namespaces.contains(namespace)
            || self
                .namespace_selector
                .as_ref()
                .is_some_and(|s| s.matches(namespace_labels));
        there && self.selector.as_ref().is_some_and(|s| s.matches(labels))
    }
}

/// A term with its weight.
pub type Weighted = (i64, PodAffinityTerm);

/// `spec.affinity.podAffinity` and `podAntiAffinity`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PodAffinity {
    /// The pod must be beside pods that match all of these.
    pub required: Vec<PodAffinityTerm>,
    /// The pod must not be beside a pod that matches any of these.
    pub anti_required: Vec<PodAffinityTerm>,
    /// The pod would like to be beside these.
    pub preferred: Vec<Weighted>,
    /// The pod would like not to be beside these.
    pub anti_preferred: Vec<Weighted>,
}

impl PodAffinity {
    /// Compiles it for a pod in `namespace`.
    ///
    /// # Errors
    /// [`Error`] naming the field of the first malformed selector.
    pub fn from_api(
        spec: &api::PodSpec,
        namespace: &str,
        object: &dyn Fn() -> String,
    ) -> Result<Self, Error> {
        let Some(affinity) = &spec.affinity else {
            return Ok(Self::default());
        };
        let reader = Reader { namespace, object };
        let (with, without) = (&affinity.pod_affinity, &affinity.pod_anti_affinity);
        let required =
            |a: &Option<Vec<api::PodAffinityTerm>>, kind| reader.required(a.as_ref(), kind);
        let preferred = |a: &Option<Vec<api::WeightedPodAffinityTerm>>, kind| {
            reader.preferred(a.as_ref(), kind)
        };
        let mut read = Self::default();
        if let Some(a) = with {
            let kind = "podAffinity";
            read.required = required(&a.required_during_scheduling_ignored_during_execution, kind)?;
            read.preferred = preferred(
                &a.preferred_during_scheduling_ignored_during_execution,
                kind,
            )?;
        }
        if let Some(a) = without {
            let kind = "podAntiAffinity";
            read.anti_required =
                required(&a.required_during_scheduling_ignored_during_execution, kind)?;
            read.anti_preferred = preferred(
                &a.preferred_during_scheduling_ignored_during_execution,
                kind,
            )?;
        }
        Ok(read)
    }

    /// Whether there is nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.required.is_empty() && self.anti_required.is_empty() && !self.prefers()
    }

    /// Whether there are preferred terms.
    #[must_use]
    pub fn prefers(&self) -> bool {
        !self.preferred.is_empty() || !self.anti_preferred.is_empty()
    }
}

struct Reader<'a> {
    namespace: &'a str,
    object: &'a dyn Fn() -> String,
}

impl Reader<'_> {
    fn term(&self, term: &api::PodAffinityTerm, path: &str) -> Result<PodAffinityTerm, Error> {
        let error = |name: &str, (inner, problem): (String, String)| Error {
            object: (self.object)(),
            field: format!("spec.affinity.{path}.{name}{inner}"),
            problem,
        };
        PodAffinityTerm::from_api(term, self.namespace, &error)
    }

    fn required(
        &self,
        terms: Option<&Vec<api::PodAffinityTerm>>,
        kind: &str,
    ) -> Result<Vec<PodAffinityTerm>, Error> {
        let list = format!("{kind}.requiredDuringSchedulingIgnoredDuringExecution");
        let terms = terms.into_iter().flatten().enumerate();
        terms
            .map(|(i, t)| self.term(t, &format!("{list}[{i}]")))
            .collect()
    }

    fn preferred(
        &self,
        terms: Option<&Vec<api::WeightedPodAffinityTerm>>,
        kind: &str,
    ) -> Result<Vec<Weighted>, Error> {
        let list = format!("{kind}.preferredDuringSchedulingIgnoredDuringExecution");
        let terms = terms.into_iter().flatten().enumerate();
        let read = |(i, t): (usize, &api::WeightedPodAffinityTerm)| {
            let term = self.term(
                &t.pod_affinity_term,
                &format!("{list}[{i}].podAffinityTerm"),
            )?;
            Ok((i64::from(t.weight), term))
        };
        terms.map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(affinity: serde_json::Value) -> Result<PodAffinity, Error> {
        let spec = json!({"containers":[],"affinity":affinity});
        let spec = serde_json::from_value(spec).unwrap();
        PodAffinity::from_api(&spec, "own", &|| "pod own/p".into())
    }

    fn labels(key: &str, value: &str) -> Labels {
        Labels::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn means_its_own_namespace_unless_it_says_otherwise() {
        let a = read(
            json!({"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[
            {"topologyKey":"z","labelSelector":{"matchLabels":{"app":"a"}}},
            {"topologyKey":"z","labelSelector":{},"namespaceSelector":{}},
            {"topologyKey":"z","labelSelector":{},"namespaces":["x"],
                "namespaceSelector":{"matchLabels":{"team":"t"}}},
            {"topologyKey":"z"}]}}),
        )
        .unwrap();
        let app = labels("app", "a");
        let none = Labels::default();
        let matches = |i: usize, ns: &str, of: &Labels| a.required[i].matches(ns, of, &app);
        assert!(matches(0, "own", &none) && !matches(0, "x", &none));
        assert!(matches(1, "own", &none) && matches(1, "x", &none));
        assert!(matches(2, "x", &none) && !matches(2, "own", &none));
        assert!(matches(2, "y", &labels("team", "t")));
        assert!(!matches(3, "own", &none));
    }

    #[test]
    fn names_the_malformed_field() {
        let error = read(
            json!({"podAntiAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[
            {"weight":1,"podAffinityTerm":{"topologyKey":"z","namespaceSelector":
                {"matchExpressions":[{"key":"a","operator":"Near"}]}}}]}}),
        )
        .unwrap_err();
        assert_eq!(
            error.field,
            "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]\
             .podAffinityTerm.namespaceSelector.matchExpressions[0]"
        );
    }
}
