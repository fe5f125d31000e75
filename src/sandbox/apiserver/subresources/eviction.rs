//! `pods/eviction`: deletion that PodDisruptionBudgets may refuse.
//!
//! The decisions and their order are those of `pkg/registry/core/pod/storage/eviction.go`. All of it
//! happens in one transaction, so the real server's retries on conflicts have no counterpart here.

use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::{Error, GroupResource};
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::registry::Resource;
use crate::sandbox::apiserver::reply::Reply;
use crate::sandbox::apiserver::rules;
use crate::sandbox::apiserver::selector::LabelSelector;
use crate::sandbox::apiserver::store::{Key, Transaction};
use crate::sandbox::apiserver::verbs::delete::{DeleteOptions, delete_object};
use crate::sandbox::types::table;

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const CAUSE: &str = "DisruptionBudget";

/// Evictions that may be outstanding against one budget.
const MAX_DISRUPTED_PODS: usize = 2000;

const BUDGET: GroupResource<'static> = GroupResource {
    group: "policy",
    resource: "poddisruptionbudget",
};

pub(crate) fn evict(call: &Call) -> Result<Reply, Error> {
    let version = serde_json::from_slice::<Value>(&call.body)
        .ok()
        .filter(|body| body["apiVersion"] == "policy/v1beta1")
        .map_or("v1", |_| "v1beta1");
    let schema = table()
        .schema_of_kind("policy", version, "Eviction")
        .or_else(|| table().schema_of_kind("policy", "v1", "Eviction"))
        .unwrap_or_default();
    let eviction = call.decode(schema, "policy", version, "Eviction")?;
    if meta::name(&eviction) != call.path.name {
        return Err(Error::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut options = DeleteOptions::from_object(&eviction["deleteOptions"])?;
    options.dry_run |= call.dry_run();
    let pods = call.resource.clone();
    let key = call.key();
    call.server
        .store
        .write(|tx| decide(call, tx, &pods, &key, options))
}

fn decide(
    call: &Call,
    tx: &mut Transaction<'_>,
    pods: &Resource,
    key: &Key,
    options: DeleteOptions,
) -> Result<Reply, Error> {
    let pod = tx
        .get(pods.collection, key)
        .cloned()
        .ok_or_else(|| call.not_found())?;
    let phase = meta::text(&pod.value, &["status", "phase"]);
    // Nothing is disrupted by a pod that does not run.
    let ignores_budgets =
        matches!(phase, "Succeeded" | "Failed" | "Pending") || meta::is_deleting(&pod.value);
    if !ignores_budgets {
        let budgets = call.server.registry.core("policy", "poddisruptionbudgets");
        let matching = budgets
            .map(|b| matching(tx, b, &pod.value))
            .unwrap_or_default();
        match matching.as_slice() {
            [] => {}
            [budget] => {
                if !unhealthy_may_go(&pod.value, budget)
                    && let Some(spent) = spend(budget, key, call)?
                    && !options.dry_run
                    && let Some(budgets) = budgets
                {
                    let key = Key::new(meta::namespace(budget), meta::name(budget));
                    tx.put(budgets.collection, key, spent);
                }
            }
            _ => {
                return Err(Error::bare(
                    500,
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        }
    }
    condition_and_delete(call, tx, pods, key, options)?;
    Ok(Reply::success(201, None))
}

fn matching(tx: &Transaction<'_>, budgets: &Resource, pod: &Value) -> Vec<Value> {
    tx.range(budgets.collection, meta::namespace(pod))
        .filter(|budget| {
            LabelSelector::from_object(budget.value["spec"].get("selector"))
                .ok()
                .flatten()
                .is_some_and(|selector| selector.matches(pod))
        })
        .map(|budget| budget.value.clone())
        .collect()
}

/// A pod that is not ready may go without spending the budget, by its policy.
fn unhealthy_may_go(pod: &Value, budget: &Value) -> bool {
    if meta::has_condition(pod, "Ready") {
        return false;
    }
    let status = |field: &str| meta::int(budget, &["status", field]).unwrap_or(0);
    meta::text(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow"
        || (status("currentHealthy") >= status("desiredHealthy") && status("desiredHealthy") > 0)
}

/// The budget after this eviction (`checkAndDecrement`).
fn spend(budget: &Value, pod: &Key, call: &Call) -> Result<Option<Value>, Error> {
    let name = meta::name(budget);
    let status = |field: &str| meta::int(budget, &["status", field]).unwrap_or(0);
    let generation = meta::int(budget, &["metadata", "generation"]).unwrap_or(0);
    if status("observedGeneration") < generation {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(Error::too_many_requests(REFUSED, 10).with_cause(CAUSE, &cause, ""));
    }
    let allowed = status("disruptionsAllowed");
    if allowed < 0 {
        return Err(Error::forbidden(
            BUDGET,
            name,
            "pdb disruptions allowed is negative",
        ));
    }
    let disrupted = budget["status"]["disruptedPods"]
        .as_object()
        .map_or(0, serde_json::Map::len);
    if disrupted > MAX_DISRUPTED_PODS {
        return Err(Error::forbidden(
            BUDGET,
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        return Err(Error::too_many_requests(REFUSED, 0).with_cause(CAUSE, &exhausted(budget), ""));
    }
    let mut spent = budget.clone();
    let status = meta::map_mut(&mut spent, "status");
    status.insert("disruptionsAllowed".to_owned(), json!(allowed - 1));
    let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
    if !disrupted.is_object() {
        *disrupted = json!({});
    }
    disrupted[&*pod.name] = meta::time(call.now);
    if allowed == 1 {
        set_disruption_allowed_false(&mut spent, generation, call);
    }
    Ok(Some(spent))
}

fn set_disruption_allowed_false(budget: &mut Value, generation: i64, call: &Call) {
    let conditions = meta::map_mut(budget, "status")
        .entry("conditions")
        .or_insert_with(|| json!([]));
    let Value::Array(conditions) = conditions else {
        return;
    };
    let mut condition = json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
        "message": "", "lastTransitionTime": meta::time(call.now), "observedGeneration": generation,
    });
    match conditions
        .iter_mut()
        .find(|c| c["type"] == "DisruptionAllowed")
    {
        Some(old) => {
            if old["status"] == "False" {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

/// Why a budget without disruptions left refuses.
fn exhausted(budget: &Value) -> String {
    let name = meta::name(budget);
    let status = |field: &str| meta::int(budget, &["status", field]).unwrap_or(0);
    let (current, desired) = (status("currentHealthy"), status("desiredHealthy"));
    let condition = meta::list(budget, &["status", "conditions"])
        .iter()
        .find(|c| c["type"] == "DisruptionAllowed" && c["status"] == "False")
        .map(|c| (meta::text(c, &["reason"]), meta::text(c, &["message"])))
        .filter(|(_, message)| !message.is_empty());
    match condition {
        Some(("SyncFailed", message)) => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
        ),
        _ if current <= desired => format!(
            "The disruption budget {name} needs {desired} healthy pods and has {current} currently"
        ),
        Some((reason, message)) => format!(
            "The disruption budget {name} does not allow evicting pods currently ({reason}): {message}"
        ),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

/// Says on the pod why it goes, and deletes it.
fn condition_and_delete(
    call: &Call,
    tx: &mut Transaction<'_>,
    pods: &Resource,
    key: &Key,
    mut options: DeleteOptions,
) -> Result<(), Error> {
    const POD: GroupResource<'static> = GroupResource {
        group: "",
        resource: "Pod",
    };
    let pod = tx
        .get(pods.collection, key)
        .cloned()
        .ok_or_else(|| call.not_found())?;
    if !options.dry_run {
        if let Some(uid) = &options.uid
            && uid != meta::uid(&pod.value)
        {
            let why = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                meta::uid(&pod.value)
            );
            return Err(Error::conflict(POD, &key.name, &why));
        }
        if let Some(version) = &options.resource_version
            && version != meta::resource_version(&pod.value)
        {
            let why = format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
                meta::resource_version(&pod.value)
            );
            return Err(Error::conflict(POD, &key.name, &why));
        }
        let mut value = pod.value.clone();
        meta::set_condition(
            &mut value,
            "DisruptionTarget",
            "True",
            "EvictionByEvictionAPI",
            "Eviction API: evicting",
            call.now,
        );
        if value != pod.value {
            let updated = tx.put(pods.collection, key.clone(), value);
            if options.resource_version.is_some() {
                options.resource_version = Some(updated.revision.to_string());
            }
        }
    }
    let deleted = delete_object(tx, pods, key, &options, call.now)?;
    if !options.dry_run {
        rules::after_change(call, tx, &deleted.object.value);
    }
    Ok(())
}
