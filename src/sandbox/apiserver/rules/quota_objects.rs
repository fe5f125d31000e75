//! Quotas of numbers of objects: `configmaps`, `services.nodeports`, `count/deployments.apps` and the like
//! (`pkg/quota/v1/evaluator/core`, `generic.NewObjectCountEvaluator`).

use serde_json::Value;

use super::quantity;
use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::registry::Registry;
use crate::sandbox::apiserver::store::Transaction;

/// Core kinds that have a name of their own in quotas.
const NAMED: [&str; 6] = [
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

/// How much one object counts.
type Amount = fn(&Value) -> i128;

/// What a quota's resource counts: group, plural, and of each object how much.
fn counted(name: &str) -> Option<(&str, &str, Amount)> {
    match name {
        "services.nodeports" => return Some(("", "services", node_ports)),
        "services.loadbalancers" => return Some(("", "services", load_balancers)),
        _ => {}
    }
    if NAMED.contains(&name) {
        return Some(("", name, |_| 1));
    }
    let named = name.strip_prefix("count/")?;
    // Pods are counted with what they ask for.
    (named != "pods").then(|| {
        let (plural, group) = named.split_once('.').unwrap_or((named, ""));
        (group, plural, (|_| 1) as Amount)
    })
}

fn node_ports(service: &Value) -> i128 {
    let ports = meta::list(service, &["spec", "ports"]);
    match meta::text(service, &["spec", "type"]) {
        "NodePort" | "LoadBalancer" => i128::try_from(ports.len()).unwrap_or(i128::MAX),
        _ => 0,
    }
}

fn load_balancers(service: &Value) -> i128 {
    i128::from(meta::text(service, &["spec", "type"]) == "LoadBalancer")
}

/// How much of a quota's resource is used; `None` if it is no number of objects.
pub(crate) fn used(
    registry: &Registry,
    tx: &Transaction<'_>,
    namespace: &str,
    name: &str,
) -> Option<i128> {
    let (group, plural, amount) = counted(name)?;
    let resource = registry.core(group, plural)?;
    let objects = tx.range(resource.collection, namespace);
    Some(objects.map(|object| amount(&object.value)).sum())
}

/// Refuses an object that no quota of its namespace has room for.
pub(crate) fn admit(call: &Call, tx: &Transaction<'_>, object: &Value) -> Result<(), Error> {
    let facts = call.resource.facts;
    let registry = &call.server.registry;
    let Some(quotas) = registry
        .core("", "resourcequotas")
        .filter(|_| facts.namespaced)
    else {
        return Ok(());
    };
    let namespace = meta::namespace(object);
    for quota in tx.range(quotas.collection, namespace) {
        let hard = quota.value["spec"].get("hard").and_then(Value::as_object);
        let mut over = Vec::new();
        for (name, limit) in hard.into_iter().flatten() {
            let Some((group, plural, amount)) = counted(name) else {
                continue;
            };
            let asked = amount(object);
            if (group, plural) != (facts.group.as_str(), facts.name.as_str()) || asked == 0 {
                continue;
            }
            let limit = quantity::milli(limit).unwrap_or(0) / 1_000;
            let now = used(registry, tx, namespace, name).unwrap_or(0);
            if now + asked > limit {
                over.push((name, asked, now, limit));
            }
        }
        if over.is_empty() {
            continue;
        }
        let list = |number: fn(&(&String, i128, i128, i128)) -> i128| -> String {
            let texts = over.iter().map(|one| format!("{}={}", one.0, number(one)));
            texts.collect::<Vec<String>>().join(",")
        };
        let why = format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            meta::name(&quota.value),
            list(|one| one.1),
            list(|one| one.2),
            list(|one| one.3),
        );
        let gr = call.resource.group_resource();
        return Err(Error::forbidden(gr, meta::name(object), &why));
    }
    Ok(())
}
