//! Topology spread constraints, compiled (`plugins/podtopologyspread/common.go`).

use k8s_openapi::api::core::v1 as api;

use super::Error;
use super::selector::{LabelSelector, Labels};
use super::topology::TopologyKey;

/// The label that names a node's host.
pub const HOSTNAME: &str = "kubernetes.io/hostname";

/// One of `spec.topologySpreadConstraints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpreadConstraint {
    /// `DoNotSchedule`, rather than `ScheduleAnyway`.
    pub hard: bool,
    /// By how many pods domains may differ.
    pub max_skew: i64,
    /// The label whose values are the domains.
    pub topology_key: TopologyKey,
    /// Whether that label is the host's name.
    pub is_hostname: bool,
    /// The pods counted, `matchLabelKeys` included; `None` counts none.
    pub selector: Option<LabelSelector>,
    /// With fewer domains than this the least of them counts as empty.
    pub min_domains: usize,
    /// Whether only nodes count that the pod's node affinity allows.
    pub honor_affinity: bool,
    /// Whether only nodes count whose taints the pod tolerates.
    pub honor_taints: bool,
}

impl SpreadConstraint {
    /// Compiles one, for a pod with these labels.
    ///
    /// # Errors
    /// The path inside the constraint and the problem.
    pub fn from_api(
        constraint: &api::TopologySpreadConstraint,
        labels: &Labels,
    ) -> Result<Self, (String, String)> {
        let at = |(inner, problem): (String, String)| (format!(".labelSelector{inner}"), problem);
        let selector = constraint.label_selector.as_ref();
        let mut selector = selector
            .map(LabelSelector::from_api)
            .transpose()
            .map_err(at)?;
        if let Some(selector) = &mut selector {
            let keys = constraint.match_label_keys.iter().flatten();
            for (key, value) in keys.filter_map(|key| labels.get_key_value(key)) {
                selector.require(key, value);
            }
        }
        let hard = match constraint.when_unsatisfiable.as_str() {
            "DoNotSchedule" => true,
            "ScheduleAnyway" => false,
            other => return Err((".whenUnsatisfiable".into(), format!("{other:?} is unknown"))),
        };
        Ok(Self {
            hard,
            max_skew: i64::from(constraint.max_skew),
            topology_key: TopologyKey::of(&constraint.topology_key),
            is_hostname: constraint.topology_key == HOSTNAME,
            selector,
            min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(0),
            honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        })
    }

    /// Those of a pod.
    ///
    /// # Errors
    /// [`Error`] naming the field of the first malformed one.
    pub fn all_from_api(
        spec: &api::PodSpec,
        labels: &Labels,
        object: &dyn Fn() -> String,
    ) -> Result<Vec<Self>, Error> {
        let constraints = spec
            .topology_spread_constraints
            .iter()
            .flatten()
            .enumerate();
        let read = |(i, c)| {
            Self::from_api(c, labels).map_err(|(inner, problem)| Error {
                object: object(),
                field: format!("spec.topologySpreadConstraints[{i}]{inner}"),
                problem,
            })
        };
        constraints.map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn match_label_keys_narrow_the_selector() {
        let constraint = json!({"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"ScheduleAnyway",
            "labelSelector":{"matchLabels":{"app":"a"}},"matchLabelKeys":["hash","missing"]});
        let labels: Labels = [("app", "a"), ("hash", "1")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let read =
            SpreadConstraint::from_api(&serde_json::from_value(constraint).unwrap(), &labels);
        let read = read.unwrap();
        let selector = read.selector.unwrap();
        assert!(selector.matches(&labels));
        let other = [("app", "a"), ("hash", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert!(!selector.matches(&other.into()));
        assert!(!read.hard && read.honor_affinity && !read.honor_taints);
        assert_eq!(read.min_domains, 1);
    }

    #[test]
    fn names_the_malformed_field() {
        let spec = json!({"containers":[],"topologySpreadConstraints":[
            {"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"Perhaps"}]});
        let spec = serde_json::from_value(spec).unwrap();
        let error = SpreadConstraint::all_from_api(&spec, &Labels::default(), &|| "pod a/b".into());
        let error = error.unwrap_err();
        assert_eq!(
            error.field,
            "spec.topologySpreadConstraints[0].whenUnsatisfiable"
        );
    }
}
