//! What the controllers ask of objects: pure questions and small values.

use std::time::Duration;

use ::kube::core::{Selector, SelectorExt};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, ObjectMeta, OwnerReference, Time,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::clock;

/// The time now, to the second, as the API server stores it.
#[must_use]
pub fn now() -> Time {
    Time(seconds(clock::now()))
}

/// A time to the second, as the API server stores it.
#[must_use]
pub fn seconds(time: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// How long ago `then` was at `now`; zero if it lies ahead.
#[must_use]
pub fn age(then: &Time, now: jiff::Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then.0)).unwrap_or_default()
}

/// The reference to the controlling owner.
#[must_use]
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .as_deref()?
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// Whether `meta` is controlled by the object with this uid.
#[must_use]
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

/// The uid, or nothing for an object that was never stored.
#[must_use]
pub fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

/// The name.
#[must_use]
pub fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// The namespace.
#[must_use]
pub fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

/// Whether deletion has begun.
#[must_use]
pub fn is_terminating(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// The value of an annotation.
#[must_use]
pub fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The value of a label.
#[must_use]
pub fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// Whether a label selector, given as the API has it, matches these labels. A selector that cannot
/// be read matches nothing; an empty one matches everything.
#[must_use]
pub fn selects(selector: &LabelSelector, meta: &ObjectMeta) -> bool {
    let labels = meta.labels.clone().unwrap_or_default();
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(&labels))
}

/// Whether a selector is empty, hence selects everything.
#[must_use]
pub fn selects_everything(selector: &LabelSelector) -> bool {
    selector
        .match_labels
        .as_ref()
        .is_none_or(std::collections::BTreeMap::is_empty)
        && selector
            .match_expressions
            .as_ref()
            .is_none_or(Vec::is_empty)
}

/// The pod's phase; a pod without one is Pending.
#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

/// Whether the pod has ended: Succeeded or Failed.
#[must_use]
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod counts as a replica: not ended, not being deleted
/// (pkg/controller/controller_utils.go, `IsPodActive`).
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(&pod.metadata)
}

/// The pod's condition of this type.
#[must_use]
pub fn pod_condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .as_deref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// Since when the pod is Ready, if it is.
#[must_use]
pub fn ready_since(pod: &Pod) -> Option<&Time> {
    static EPOCH: Time = Time(jiff::Timestamp::UNIX_EPOCH);
    pod_condition(pod, "Ready")
        .filter(|condition| condition.status == "True")
        .map(|condition| condition.last_transition_time.as_ref().unwrap_or(&EPOCH))
}

/// Whether the pod is Ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// How long until a Ready pod is available: Ready for `min_ready_seconds`. `None` if it is not
/// Ready, zero if it is available (pkg/api/v1/pod/util.go, `IsPodAvailable`).
#[must_use]
pub fn until_available(
    pod: &Pod,
    min_ready_seconds: i32,
    now: jiff::Timestamp,
) -> Option<Duration> {
    let since = ready_since(pod)?;
    let wanted = Duration::from_secs(u64::try_from(min_ready_seconds).unwrap_or(0));
    Some(wanted.saturating_sub(age(since, now)))
}

/// A number or a percentage of `total`, rounded as asked. Negative and unreadable values count as
/// zero: the API server has refused them before (pkg/util/intstr, `GetScaledValueFromIntOrPercent`).
#[must_use]
pub fn scaled(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent = text
                .strip_suffix('%')
                .and_then(|digits| digits.parse::<i64>().ok());
            let hundredths = percent.unwrap_or(0).saturating_mul(i64::from(total));
            let rounded = if round_up {
                hundredths.saturating_add(99).div_euclid(100)
            } else {
                hundredths.div_euclid(100)
            };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

/// What the API server said in an error, as Go's clients print it.
#[must_use]
pub fn api_message(error: &::kube::Error) -> String {
    match error {
        ::kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether an error is the API server's answer with this HTTP code.
#[must_use]
pub fn has_code(error: &::kube::Error, code: u16) -> bool {
    matches!(error, ::kube::Error::Api(status) if status.code == code)
}

/// Whether the error says that the namespace is being deleted, so that creating in it is pointless.
#[must_use]
pub fn is_namespace_terminating(error: &::kube::Error) -> bool {
    let ::kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .into_iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let quarter = IntOrString::String("25%".into());
        assert_eq!(scaled(&quarter, 10, true), 3);
        assert_eq!(scaled(&quarter, 10, false), 2);
        assert_eq!(scaled(&quarter, 0, true), 0);
        assert_eq!(scaled(&IntOrString::String("100%".into()), 7, true), 7);
        assert_eq!(scaled(&IntOrString::Int(4), 100, true), 4);
        assert_eq!(
            scaled(&IntOrString::String("nonsense".into()), 100, true),
            0
        );
    }

    #[test]
    fn a_pod_is_available_when_it_was_ready_long_enough() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p"},
            "status": {"conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap();
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        assert_eq!(
            until_available(&pod, 0, at("2026-01-01T00:00:00Z")),
            Some(Duration::ZERO)
        );
        let left = until_available(&pod, 10, at("2026-01-01T00:00:04Z"));
        assert_eq!(left, Some(Duration::from_secs(6)));
    }
}
