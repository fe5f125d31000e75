//! `ResourceQuota` for pods: admission of new ones, and the quotas' status.
//!
//! Usage is computed under the store's lock from the pods that are there, so it is never stale and no
//! quota controller is needed. It costs nothing in namespaces without a quota.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{quantity, quota_objects};
use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::store::{Key, Transaction};

/// What a quota may limit about pods: its name there, and the resource whose requests or limits count.
const COUNTED: [(&str, &str, &str); 8] = [
    ("pods", "", ""),
    ("count/pods", "", ""),
    ("cpu", "requests", "cpu"),
    ("requests.cpu", "requests", "cpu"),
    ("limits.cpu", "limits", "cpu"),
    ("memory", "requests", "memory"),
    ("requests.memory", "requests", "memory"),
    ("limits.memory", "limits", "memory"),
];

/// Thousandths of what one pod uses of a quota's resource.
fn usage(pod: &Value, kind: &str, resource: &str) -> i128 {
    if kind.is_empty() {
        return 1_000;
    }
    let of = |c: &Value| quantity::milli(&c["resources"][kind][resource]).unwrap_or(0);
    let running: i128 = meta::list(pod, &["spec", "containers"])
        .iter()
        .map(of)
        .sum();
    let starting = meta::list(pod, &["spec", "initContainers"])
        .iter()
        .map(of)
        .max()
        .unwrap_or(0);
    running.max(starting)
}

/// Finished pods use only their place in `count/pods`; deleted ones count until they are gone.
fn counts(pod: &Value, name: &str) -> bool {
    name == "count/pods"
        || !matches!(
            meta::text(pod, &["status", "phase"]),
            "Failed" | "Succeeded"
        )
}

/// Whether a quota speaks of this pod: all of its scopes hold (`podMatchesScopeFunc` of the evaluator).
fn covers(quota: &Value, pod: &Value) -> bool {
    let plain = meta::list(quota, &["spec", "scopes"])
        .iter()
        .all(|scope| in_scope(pod, scope.as_str().unwrap_or_default(), "Exists", &[]));
    let selected = meta::list(quota, &["spec", "scopeSelector", "matchExpressions"])
        .iter()
        .all(|term| {
            in_scope(
                pod,
                meta::text(term, &["scopeName"]),
                meta::text(term, &["operator"]),
                meta::list(term, &["values"]),
            )
        });
    plain && selected
}

fn in_scope(pod: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    let best_effort = || super::pod::qos_class(pod) == "BestEffort";
    let terminating =
        || meta::int(pod, &["spec", "activeDeadlineSeconds"]).is_some_and(|seconds| seconds >= 0);
    let class = meta::text(pod, &["spec", "priorityClassName"]);
    match (scope, operator) {
        ("BestEffort", _) => best_effort(),
        ("NotBestEffort", _) => !best_effort(),
        ("Terminating", _) => terminating(),
        ("NotTerminating", _) => !terminating(),
        ("PriorityClass", "In") => values.iter().any(|v| v == class),
        ("PriorityClass", "NotIn") => !values.iter().any(|v| v == class),
        ("PriorityClass", "DoesNotExist") => class.is_empty(),
        ("PriorityClass", _) => !class.is_empty(),
        _ => false,
    }
}

fn is_scoped(quota: &Value) -> bool {
    !meta::list(quota, &["spec", "scopes"]).is_empty()
        || quota["spec"].get("scopeSelector").is_some()
}

fn print(milli: i128, resource: &str) -> String {
    if resource.ends_with("cpu") && milli % 1_000 != 0 {
        format!("{milli}m")
    } else {
        let units = milli / 1_000;
        if resource.ends_with("memory") {
            for (suffix, size) in [("Gi", 1i128 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
                if units != 0 && units % size == 0 {
                    return format!("{}{suffix}", units / size);
                }
            }
        }
        units.to_string()
    }
}

/// Refuses a pod that no quota of its namespace has room for.
pub(crate) fn admit_pod(call: &Call, tx: &Transaction<'_>, pod: &Value) -> Result<(), Error> {
    let Some(quotas) = call.server.registry.core("", "resourcequotas") else {
        return Ok(());
    };
    let namespace = meta::namespace(pod);
    for quota in tx.range(quotas.collection, namespace) {
        if !covers(&quota.value, pod) {
            continue;
        }
        let (mut requested, mut used, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        let mut missing = Vec::new();
        for (name, kind, resource) in COUNTED {
            let Some(hard) = quantity::milli(&quota.value["spec"]["hard"][name]) else {
                continue;
            };
            let asked = usage(pod, kind, resource);
            if !kind.is_empty() && asked == 0 {
                missing.push(format!("{name} for: {}", container_names(pod)));
                continue;
            }
            let now: i128 = tx
                .range(call.resource.collection, namespace)
                .filter(|p| counts(&p.value, name) && covers(&quota.value, &p.value))
                .map(|p| usage(&p.value, kind, resource))
                .sum();
            if now + asked > hard {
                requested.push(format!("{name}={}", print(asked, name)));
                used.push(format!("{name}={}", print(now, name)));
                limited.push(format!("{name}={}", print(hard, name)));
            }
        }
        if !missing.is_empty() {
            missing.sort();
            let why = format!(
                "failed quota: {}: must specify {}",
                meta::name(&quota.value),
                missing.join("; ")
            );
            return Err(Error::forbidden(
                call.resource.group_resource(),
                meta::name(pod),
                &why,
            ));
        }
        if !requested.is_empty() {
            for list in [&mut requested, &mut used, &mut limited] {
                list.sort();
            }
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                meta::name(&quota.value),
                requested.join(","),
                used.join(","),
                limited.join(",")
            );
            return Err(Error::forbidden(
                call.resource.group_resource(),
                meta::name(pod),
                &why,
            ));
        }
    }
    Ok(())
}

fn container_names(pod: &Value) -> String {
    let names: Vec<&str> = meta::list(pod, &["spec", "containers"])
        .iter()
        .map(|c| meta::text(c, &["name"]))
        .collect();
    names.join(",")
}

/// Writes the namespace's usage into its quotas' status, where it changed.
pub(crate) fn refresh(call: &Call, tx: &mut Transaction<'_>, namespace: &str) {
    let registry = &call.server.registry;
    let (Some(quotas), Some(pods)) = (
        registry.core("", "resourcequotas"),
        registry.core("", "pods"),
    ) else {
        return;
    };
    let mut changed = BTreeMap::new();
    for quota in tx.range(quotas.collection, namespace) {
        let Some(hard) = quota.value["spec"].get("hard").and_then(Value::as_object) else {
            continue;
        };
        let mut used = Map::new();
        for (name, kind, resource) in COUNTED {
            if !hard.contains_key(name) {
                continue;
            }
            let sum: i128 = tx
                .range(pods.collection, namespace)
                .filter(|p| counts(&p.value, name) && covers(&quota.value, &p.value))
                .map(|p| usage(&p.value, kind, resource))
                .sum();
            used.insert(name.to_owned(), json!(print(sum, name)));
        }
        for name in hard.keys().filter(|_| !is_scoped(&quota.value)) {
            if let Some(count) = quota_objects::used(registry, tx, namespace, name) {
                used.insert(name.clone(), json!(count.to_string()));
            }
        }
        let status = json!({"hard": hard, "used": used});
        if quota.value["status"] != status {
            let mut value = quota.value.clone();
            meta::map_mut(&mut value, "status");
            value["status"] = status;
            changed.insert(meta::name(&quota.value).to_owned(), value);
        }
    }
    for (name, value) in changed {
        tx.put(quotas.collection, Key::new(namespace, &name), value);
    }
}
