//! Compiled selectors: label selectors of pods, node selectors of affinity.
//!
//! Invariant: what is compiled is well-formed (operators known, values where they belong); matching never
//! fails.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiLabelSelector;

/// Labels as objects carry them.
pub type Labels = BTreeMap<String, String>;

/// What one requirement wants of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// One of these, and present.
    In(Vec<String>),
    /// None of these, or absent.
    NotIn(Vec<String>),
    /// Present.
    Exists,
    /// Absent.
    DoesNotExist,
    /// An integer greater than this.
    Gt(i64),
    /// An integer less than this.
    Lt(i64),
}

/// One requirement on one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Requirement {
    /// The label's key, or the field's path.
    pub key: String,
    /// What is wanted.
    pub operator: Operator,
}

impl Requirement {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(key: &str, operator: &str, values: &[String]) -> Result<Self, String> {
        let some = |operator: fn(Vec<String>) -> Operator| match values {
            [] => Err("values must not be empty".to_owned()),
            _ => Ok(operator(values.to_vec())),
        };
        let none = |operator: Operator| match values {
            [] => Ok(operator),
            _ => Err("values must be empty".to_owned()),
        };
        let number = |operator: fn(i64) -> Operator| match values {
            [one] => one
                .parse()
                .map(operator)
                .map_err(|_| format!("{one:?} is not an integer")),
            _ => Err("exactly one value is wanted".to_owned()),
        };
        let operator = match operator {
            "In" => some(Operator::In),
            "NotIn" => some(Operator::NotIn),
            "Exists" => none(Operator::Exists),
            "DoesNotExist" => none(Operator::DoesNotExist),
            "Gt" => number(Operator::Gt),
            "Lt" => number(Operator::Lt),
            other => Err(format!("{other:?} is not an operator")),
        }?;
        Ok(Self {
            key: key.to_owned(),
            operator,
        })
    }

    /// Whether a value (or its absence) satisfies it.
    #[must_use]
    pub fn matches(&self, value: Option<&str>) -> bool {
        match (&self.operator, value) {
            (Operator::In(values), Some(value)) => values.iter().any(|v| v == value),
            (Operator::NotIn(values), Some(value)) => values.iter().all(|v| v != value),
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, value) => value.is_none(),
            (Operator::NotIn(_), None) => true,
            (Operator::Gt(bound), Some(value)) => value.parse().is_ok_and(|n: i64| n > *bound),
            (Operator::Lt(bound), Some(value)) => value.parse().is_ok_and(|n: i64| n < *bound),
            (Operator::In(_) | Operator::Gt(_) | Operator::Lt(_), None) => false,
        }
    }
}

/// A compiled label selector. Empty, it matches everything; *absent* selectors match nothing and are
/// the caller's `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// Compiles one.
    ///
    /// # Errors
    /// The path inside the selector and the problem.
    pub fn from_api(selector: &ApiLabelSelector) -> Result<Self, (String, String)> {
        let mut requirements: Vec<Requirement> = selector
            .match_labels
            .iter()
            .flatten()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In(vec![value.clone()]),
            })
            .collect();
        for (i, e) in selector.match_expressions.iter().flatten().enumerate() {
            let path = || format!(".matchExpressions[{i}]");
            if matches!(e.operator.as_str(), "Gt" | "Lt") {
                return Err((path(), format!("{:?} is not an operator", e.operator)));
            }
            let values = e.values.as_deref().unwrap_or_default();
            requirements
                .push(Requirement::new(&e.key, &e.operator, values).map_err(|p| (path(), p))?);
        }
        Ok(Self(requirements))
    }

    /// One that wants exactly these labels.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        let mut selector = Self::default();
        for (key, value) in labels {
            selector.require(key, value);
        }
        selector
    }

    /// Wants this label, too.
    pub fn require(&mut self, key: &str, value: &str) {
        self.0.push(Requirement {
            key: key.to_owned(),
            operator: Operator::In(vec![value.to_owned()]),
        });
    }

    /// Wants what `other` wants, too.
    pub fn and(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these labels are selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0
            .iter()
            .all(|r| r.matches(labels.get(&r.key).map(String::as_str)))
    }
}

/// One term of a node selector: all its requirements must hold; without any it matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSelectorTerm {
    expressions: Vec<Requirement>,
    fields: Vec<Requirement>,
}

impl NodeSelectorTerm {
    /// Compiles one.
    ///
    /// # Errors
    /// The path inside the term and the problem.
    pub fn from_api(term: &api::NodeSelectorTerm) -> Result<Self, (String, String)> {
        let read = |list: Option<&Vec<api::NodeSelectorRequirement>>, name: &str, fields: bool| {
            list.into_iter()
                .flatten()
                .enumerate()
                .map(|(i, r)| {
                    let values = r.values.as_deref().unwrap_or_default();
                    let known = r.key == "metadata.name"
                        && matches!(r.operator.as_str(), "In" | "NotIn")
                        && values.len() == 1;
                    if fields && !known {
                        let problem =
                            "only metadata.name In or NotIn one value is a field selector";
                        return Err((format!(".{name}[{i}]"), problem.to_owned()));
                    }
                    Requirement::new(&r.key, &r.operator, values)
                        .map_err(|p| (format!(".{name}[{i}]"), p))
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            expressions: read(term.match_expressions.as_ref(), "matchExpressions", false)?,
            fields: read(term.match_fields.as_ref(), "matchFields", true)?,
        })
    }

    /// Whether a node is selected.
    #[must_use]
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        !self.is_empty()
            && self
                .expressions
                .iter()
                .all(|r| r.matches(labels.get(&r.key).map(String::as_str)))
            && self.fields.iter().all(|r| r.matches(Some(name)))
    }

    /// Whether it has no requirements, and so matches nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expressions.is_empty() && self.fields.is_empty()
    }

    /// The node names that its fields allow, if they name any.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        let mut names: Option<Vec<&str>> = None;
        for field in &self.fields {
            if let Operator::In(values) = &field.operator {
                let these: Vec<&str> = values.iter().map(String::as_str).collect();
                names = Some(match names {
                    None => these,
                    Some(before) => before.into_iter().filter(|n| these.contains(n)).collect(),
                });
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(entries: &[(&str, &str)]) -> Labels {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn operators() {
        let r = |op: &str, values: &[&str]| {
            let values: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
            Requirement::new("k", op, &values).unwrap()
        };
        for (requirement, value, expected) in [
            (r("In", &["a", "b"]), Some("b"), true),
            (r("In", &["a"]), Some("b"), false),
            (r("In", &["a"]), None, false),
            (r("NotIn", &["a"]), None, true),
            (r("NotIn", &["a"]), Some("a"), false),
            (r("NotIn", &["a"]), Some("b"), true),
            (r("Exists", &[]), Some(""), true),
            (r("Exists", &[]), None, false),
            (r("DoesNotExist", &[]), None, true),
            (r("DoesNotExist", &[]), Some("x"), false),
            (r("Gt", &["4"]), Some("5"), true),
            (r("Gt", &["4"]), Some("4"), false),
            (r("Gt", &["4"]), Some("five"), false),
            (r("Lt", &["4"]), Some("-5"), true),
            (r("Lt", &["4"]), None, false),
        ] {
            assert_eq!(
                requirement.matches(value),
                expected,
                "{requirement:?} {value:?}"
            );
        }
    }

    #[test]
    fn malformed_requirements_are_refused() {
        let one = ["x".to_owned()];
        for (op, values) in [
            ("In", &[][..]),
            ("Exists", &one[..]),
            ("Gt", &one[..]),
            ("Lt", &[][..]),
            ("Near", &one[..]),
        ] {
            assert!(Requirement::new("k", op, values).is_err(), "{op}");
        }
    }

    #[test]
    fn an_empty_label_selector_matches_all_and_an_empty_term_nothing() {
        assert!(LabelSelector::default().matches(&labels(&[])));
        assert!(!NodeSelectorTerm::default().matches("n", &labels(&[])));
    }

    #[test]
    fn terms_join_labels_and_fields() {
        let term: api::NodeSelectorTerm = serde_json::from_value(serde_json::json!({
            "matchExpressions":[{"key":"zone","operator":"In","values":["a"]}],
            "matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}]}))
        .unwrap();
        let term = NodeSelectorTerm::from_api(&term).unwrap();
        assert!(term.matches("n1", &labels(&[("zone", "a")])));
        assert!(!term.matches("n2", &labels(&[("zone", "a")])));
        assert!(!term.matches("n1", &labels(&[("zone", "b")])));
        assert_eq!(term.names(), Some(vec!["n1"]));
    }
}
