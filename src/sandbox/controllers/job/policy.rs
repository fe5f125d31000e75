//! Pod failure policies and success policies (pkg/controller/job/pod_failure_policy.go,
//! success_policy.go). Pure.

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::indexes::Indexes;
use crate::sandbox::controllers::informer::Key;

/// What a failed pod means to its Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It counts.
    Count,
    /// It does not.
    Ignore,
    /// Its index has failed for good.
    FailIndex,
    /// The Job has failed, for this reason.
    FailJob(String),
}

/// Looks a failed pod up in the policy.
#[must_use]
pub fn judge(spec: &JobSpec, pod: &Pod) -> Meaning {
    let rules = spec.pod_failure_policy.as_ref().map(|policy| &policy.rules);
    for (place, rule) in rules.into_iter().flatten().enumerate() {
        let Some(found) = matches(rule, pod) else {
            continue;
        };
        let action = rule.action.as_str();
        return match action {
            "Ignore" => Meaning::Ignore,
            "FailIndex" => Meaning::FailIndex,
            "FailJob" => {
                Meaning::FailJob(format!("{found} matching {action} rule at index {place}"))
            }
            _ => Meaning::Count,
        };
    }
    Meaning::Count
}

/// What of the pod the rule is about, if it is about it.
fn matches(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let key = Key::of(pod);
    if let Some(codes) = &rule.on_exit_codes {
        let containers = status.container_statuses.iter().flatten();
        let init = status.init_container_statuses.iter().flatten();
        let (container, code) = containers
            .chain(init)
            .find_map(|status| Some((&status.name, exit_code(codes, status)?)))?;
        return Some(format!(
            "Container {container} for pod {key} failed with exit code {code}"
        ));
    }
    let patterns = rule.on_pod_conditions.as_deref()?;
    let condition = status.conditions.iter().flatten().find(|condition| {
        patterns.iter().any(|pattern| {
            let wanted = pattern.status.as_deref().unwrap_or("True");
            condition.type_ == pattern.type_ && condition.status == wanted
        })
    })?;
    Some(format!("Pod {key} has condition {}", condition.type_))
}

fn exit_code(
    wanted: &PodFailurePolicyOnExitCodesRequirement,
    status: &ContainerStatus,
) -> Option<i32> {
    let named = wanted.container_name.as_ref();
    let code = status.state.as_ref()?.terminated.as_ref()?.exit_code;
    if code == 0 || named.is_some_and(|named| *named != status.name) {
        return None;
    }
    let listed = wanted.values.contains(&code);
    let holds = match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    };
    holds.then_some(code)
}

/// Why the Job has succeeded already, if it has.
#[must_use]
pub fn success(spec: &JobSpec, succeeded: &Indexes) -> Option<String> {
    let rules = &spec.success_policy.as_ref()?.rules;
    if succeeded.is_empty() {
        return None;
    }
    let completions = spec.completions.unwrap_or(1);
    let holds = |rule: &k8s_openapi::api::batch::v1::SuccessPolicyRule| {
        let count = rule.succeeded_count;
        match &rule.succeeded_indexes {
            Some(indexes) => {
                let wanted = Indexes::parse(indexes, completions);
                let common = wanted.common(succeeded);
                !wanted.is_empty()
                    && (common == wanted.len() || count.is_some_and(|count| common >= count))
            }
            None => count.is_some_and(|count| succeeded.len() >= count),
        }
    };
    let place = rules.iter().position(holds)?;
    Some(format!("Matched rules at index {place}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> JobSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let spec = spec(json!({"template": {}, "podFailurePolicy": {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}}]}}));
        let judged = |code: i32, disrupted: &str| {
            let pod = serde_json::from_value(json!({
                "metadata": {"name": "p", "namespace": "d"},
                "status": {"conditions": [{"type": "DisruptionTarget", "status": disrupted}],
                    "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
                        "restartCount": 0, "state": {"terminated": {"exitCode": code}}}]}}))
            .unwrap();
            judge(&spec, &pod)
        };
        assert_eq!(judged(42, "True"), Meaning::Ignore);
        let told =
            "Container c for pod d/p failed with exit code 42 matching FailJob rule at index 1";
        assert_eq!(judged(42, "False"), Meaning::FailJob(told.into()));
        assert_eq!(judged(1, "False"), Meaning::Count);
        assert_eq!(judged(3, "False"), Meaning::FailIndex);
        assert_eq!(judged(0, "False"), Meaning::Count);
    }

    #[test]
    fn a_success_policy_needs_its_indexes_or_its_count() {
        let spec = spec(
            json!({"template": {}, "completions": 10, "successPolicy": {"rules": [
            {"succeededIndexes": "0,5-7", "succeededCount": 3}, {"succeededCount": 6}]}}),
        );
        let of = |text: &str| success(&spec, &Indexes::parse(text, 10));
        assert_eq!(of("5,6"), None);
        assert_eq!(of("5-7").as_deref(), Some("Matched rules at index 0"));
        assert_eq!(of("1-4,8,9").as_deref(), Some("Matched rules at index 1"));
    }
}
