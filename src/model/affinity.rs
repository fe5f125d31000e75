//! Affinity to nodes, compiled.

use k8s_openapi::api::core::v1 as api;

use super::Error;
use super::selector::{Labels, NodeSelectorTerm, Operator, Requirement};

/// Where a pod may and would like to run: `spec.nodeSelector` and `spec.affinity.nodeAffinity`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeAffinity {
    /// `nodeSelector`: all must hold.
    pub selector: Vec<Requirement>,
    /// `requiredDuringSchedulingIgnoredDuringExecution`: one term must hold; `None` when not given.
    pub required: Option<Vec<NodeSelectorTerm>>,
    /// `preferredDuringSchedulingIgnoredDuringExecution`, without terms that weigh or say nothing.
    pub preferred: Vec<(i64, NodeSelectorTerm)>,
    /// Whether there are preferred terms at all, such that say nothing included.
    pub prefers: bool,
}

impl NodeAffinity {
    /// Compiles it.
    ///
    /// # Errors
    /// [`Error`] naming the field of the first malformed requirement.
    pub fn from_api(spec: &api::PodSpec, object: &dyn Fn() -> String) -> Result<Self, Error> {
        let selector = spec
            .node_selector
            .iter()
            .flatten()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In(vec![value.clone()]),
            })
            .collect();
        let affinity = spec
            .affinity
            .as_ref()
            .and_then(|a| a.node_affinity.as_ref());
        let base = "spec.affinity.nodeAffinity";
        let compile = |term: &api::NodeSelectorTerm, path: String| {
            NodeSelectorTerm::from_api(term).map_err(|(inner, problem)| Error {
                object: object(),
                field: format!("{base}.{path}{inner}"),
                problem,
            })
        };
        let required = affinity
            .and_then(|a| {
                a.required_during_scheduling_ignored_during_execution
                    .as_ref()
            })
            .map(|required| {
                let terms = required.node_selector_terms.iter().enumerate();
                terms
                    .map(|(i, term)| {
                        let path = "requiredDuringSchedulingIgnoredDuringExecution";
                        compile(term, format!("{path}.nodeSelectorTerms[{i}]"))
                    })
                    .collect::<Result<Vec<_>, _>>()
            })
            .transpose()?;
        let mut preferred = Vec::new();
        let terms = affinity.and_then(|a| {
            a.preferred_during_scheduling_ignored_during_execution
                .as_ref()
        });
        for (i, term) in terms.iter().flat_map(|t| t.iter()).enumerate() {
            let path = format!("preferredDuringSchedulingIgnoredDuringExecution[{i}].preference");
            let compiled = compile(&term.preference, path)?;
            if term.weight != 0 && !compiled.is_empty() {
                preferred.push((i64::from(term.weight), compiled));
            }
        }
        Ok(Self {
            selector,
            required,
            preferred,
            prefers: terms.is_some_and(|t| !t.is_empty()),
        })
    }

    /// Whether anything is required of the node.
    #[must_use]
    pub fn requires_something(&self) -> bool {
        !self.selector.is_empty() || self.required.is_some()
    }

    /// Whether a node is one the pod may run on.
    #[must_use]
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        self.selector
            .iter()
            .all(|r| r.matches(labels.get(&r.key).map(String::as_str)))
            && self
                .required
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }

    /// The sum of the weights of the preferred terms that a node satisfies.
    #[must_use]
    pub fn preference(&self, name: &str, labels: &Labels) -> i64 {
        let matching = self
            .preferred
            .iter()
            .filter(|(_, term)| term.matches(name, labels));
        matching.map(|(weight, _)| weight).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affinity(json: serde_json::Value) -> Result<NodeAffinity, Error> {
        NodeAffinity::from_api(&serde_json::from_value(json).unwrap(), &|| "pod a/b".into())
    }

    #[test]
    fn selector_and_required_terms_must_both_hold() {
        let a = affinity(serde_json::json!({"containers":[],"nodeSelector":{"disk":"ssd"},
            "affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[
                {"matchExpressions":[{"key":"zone","operator":"In","values":["a"]}]},
                {"matchFields":[{"key":"metadata.name","operator":"In","values":["n9"]}]}, {}]}}}}))
        .unwrap();
        let labels = |zone: &str, disk: &str| {
            Labels::from([("zone".into(), zone.into()), ("disk".into(), disk.into())])
        };
        assert!(a.matches("n1", &labels("a", "ssd")));
        assert!(a.matches("n9", &labels("b", "ssd")));
        assert!(!a.matches("n1", &labels("b", "ssd")));
        assert!(!a.matches("n9", &labels("a", "hdd")));
    }

    #[test]
    fn preferences_add_up() {
        let term = |weight: i32, zone: &str| {
            serde_json::json!({"weight":weight,"preference":
            {"matchExpressions":[{"key":"zone","operator":"In","values":[zone]}]}})
        };
        let a = affinity(
            serde_json::json!({"containers":[],"affinity":{"nodeAffinity":{
            "preferredDuringSchedulingIgnoredDuringExecution":[term(3,"a"),term(4,"a"),term(9,"b"),
            {"weight":7,"preference":{}}]}}}),
        )
        .unwrap();
        assert_eq!(
            a.preference("n", &Labels::from([("zone".into(), "a".into())])),
            7
        );
        assert_eq!(a.preferred.len(), 3);
    }

    #[test]
    fn names_the_malformed_field() {
        let error = affinity(
            serde_json::json!({"containers":[],"affinity":{"nodeAffinity":{
            "requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[
                {"matchExpressions":[{"key":"a","operator":"Near"}]}]}}}}),
        )
        .unwrap_err();
        assert!(
            error
                .field
                .ends_with("nodeSelectorTerms[0].matchExpressions[0]"),
            "{error}"
        );
    }
}
