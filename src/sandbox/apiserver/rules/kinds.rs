//! Properties of kinds that their Go strategies state and no schema does.

use crate::sandbox::apiserver::call::Call;

/// Group and plural of a resource.
pub(crate) type RuleKey = (&'static str, &'static str);

/// Kinds whose `metadata.generation` the server counts (strategies that set `Generation = 1`).
pub(crate) fn counts_generation(key: RuleKey) -> bool {
    matches!(
        key,
        ("", "pods" | "podtemplates" | "replicationcontrollers")
            | (
                "apps",
                "deployments" | "replicasets" | "statefulsets" | "daemonsets"
            )
            | ("batch", "jobs" | "cronjobs")
            | ("policy", "poddisruptionbudgets")
            | (
                "networking.k8s.io",
                "ingresses" | "ingressclasses" | "networkpolicies"
            )
            | ("discovery.k8s.io", "endpointslices")
            | ("scheduling.k8s.io", "priorityclasses")
            | (
                "resource.k8s.io",
                "resourceslices" | "deviceclasses" | "devicetaintrules"
            )
            | ("flowcontrol.apiserver.k8s.io", _)
            | ("admissionregistration.k8s.io", _)
            | ("apiextensions.k8s.io", _)
    )
}

/// The top-level fields whose change counts a generation.
pub(crate) fn desired_parts(key: RuleKey) -> &'static [&'static str] {
    match key {
        ("discovery.k8s.io", _) => &["endpoints", "ports", "addressType"],
        ("", "podtemplates") => &["template"],
        ("admissionregistration.k8s.io", _) => &["spec", "webhooks"],
        // Counted at its creation and never again.
        ("scheduling.k8s.io", _) => &[],
        _ => &["spec"],
    }
}

/// Whether an update without `resourceVersion` is taken (`AllowUnconditionalUpdate`).
pub(crate) fn allows_unconditional_update(key: RuleKey) -> bool {
    !matches!(
        key,
        ("policy", "poddisruptionbudgets")
            | ("node.k8s.io", "runtimeclasses")
            | (
                "storage.k8s.io",
                "csidrivers" | "csistoragecapacities" | "volumeattachments" | "csinodes"
            )
            | ("coordination.k8s.io", "leases" | "leasecandidates")
            | (
                "certificates.k8s.io",
                "clustertrustbundles" | "podcertificaterequests"
            )
            | ("apiextensions.k8s.io" | "admissionregistration.k8s.io", _)
    )
}

/// Whether an update of a missing object creates it (`AllowCreateOnUpdate`).
pub(crate) fn may_create_on_update(key: RuleKey) -> bool {
    matches!(
        key,
        ("rbac.authorization.k8s.io", _)
            | ("node.k8s.io", "runtimeclasses")
            | ("coordination.k8s.io", "leases" | "leasecandidates")
            | ("", "limitranges" | "events" | "services" | "endpoints")
    )
}

/// Whether `delete` answers with the object (`ReturnDeletedObject`), else with a Status.
pub(crate) fn returns_deleted_object(key: RuleKey) -> bool {
    matches!(
        key,
        (
            "",
            "pods"
                | "services"
                | "serviceaccounts"
                | "namespaces"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "podtemplates"
                | "resourcequotas"
        ) | ("resource.k8s.io", _)
            | (
                "storage.k8s.io",
                "csidrivers"
                    | "csinodes"
                    | "storageclasses"
                    | "volumeattachments"
                    | "volumeattributesclasses"
            )
    )
}

pub(crate) fn has_status_subresource(call: &Call) -> bool {
    call.resource.facts.subresource("status").is_some()
}

/// A new object's status is the server's to set. Nodes bring theirs along.
pub(crate) fn drops_status_on_create(call: &Call) -> bool {
    has_status_subresource(call) && call.resource.rule_key() != ("", "nodes")
}
