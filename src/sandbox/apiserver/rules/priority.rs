//! Priority classes and the priority of new pods (`Priority` admission).

use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::{Error, GroupResource};
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::store::Key;

/// The classes that every server has, and their values.
pub(crate) const SYSTEM_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

/// Resolves `priorityClassName` to `priority` and `preemptionPolicy`.
pub(crate) fn admit_pod(call: &Call, pod: &mut Value) -> Result<(), Error> {
    let gr = GroupResource {
        group: "",
        resource: "pods",
    };
    let Some(classes) = call
        .server
        .registry
        .core("scheduling.k8s.io", "priorityclasses")
    else {
        return Ok(());
    };
    let name = meta::text(pod, &["spec", "priorityClassName"]).to_owned();
    let class = if name.is_empty() {
        // Of several defaults the lowest wins; there should be one.
        let snapshot = call.server.store.list(classes.collection, "");
        snapshot
            .objects
            .into_iter()
            .map(|(_, class)| class)
            .filter(|class| class.value["globalDefault"] == true)
            .min_by_key(|class| class.value["value"].as_i64().unwrap_or(0))
    } else {
        match call
            .server
            .store
            .get(classes.collection, &Key::new("", &name))
        {
            Some(class) => Some(class),
            None => {
                let why = format!("no PriorityClass with name {name} was found");
                return Err(Error::forbidden(gr, meta::name(pod), &why));
            }
        }
    };
    let (class_name, value, policy) = match &class {
        Some(class) => (
            meta::name(&class.value),
            class.value["value"].as_i64().unwrap_or(0),
            class.value["preemptionPolicy"]
                .as_str()
                .unwrap_or("PreemptLowerPriority"),
        ),
        None => ("", 0, "PreemptLowerPriority"),
    };
    let given = meta::int(pod, &["spec", "priority"]);
    // Schema defaults may have filled in 0 before this point; only another number is the client's.
    if let Some(given) = given.filter(|g| *g != value && *g != 0) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(Error::forbidden(gr, meta::name(pod), &why));
    }
    let given = meta::text(pod, &["spec", "preemptionPolicy"]);
    if !given.is_empty() && given != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(Error::forbidden(gr, meta::name(pod), &why));
    }
    let spec = meta::map_mut(pod, "spec");
    if !class_name.is_empty() {
        spec.insert("priorityClassName".to_owned(), json!(class_name));
    }
    spec.insert("priority".to_owned(), json!(value));
    spec.insert("preemptionPolicy".to_owned(), json!(policy));
    Ok(())
}

/// There is one default class, and users' classes stay below the system's.
pub(crate) fn check_class(call: &Call, class: &Value) -> Result<(), Error> {
    let gr = GroupResource {
        group: "scheduling.k8s.io",
        resource: "priorityclasses",
    };
    let name = meta::name(class);
    let value = class["value"].as_i64().unwrap_or(0);
    if value > 1_000_000_000 && !name.starts_with("system-") {
        let why = "maximum allowed value of a user defined priority is 1000000000";
        let error = FieldError::forbidden("value", why);
        return Err(Error::invalid(gr.group, "PriorityClass", name, &[error]));
    }
    if class["globalDefault"] == true {
        let snapshot = call.server.store.list(call.resource.collection, "");
        if let Some((key, _)) = snapshot
            .objects
            .iter()
            .find(|(_, other)| other.value["globalDefault"] == true)
        {
            let why = format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                key.name
            );
            return Err(Error::forbidden(gr, name, &why));
        }
    }
    Ok(())
}
