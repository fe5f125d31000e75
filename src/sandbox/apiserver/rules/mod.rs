//! The few rules that no schema holds, one file each, chosen by group and plural name.
//!
//! Everything else in this server is generic. A rule works on objects of the stored version.

pub(crate) mod autoscaler;
pub(crate) mod budget;
pub(crate) mod cronjob;
pub(crate) mod daemonset;
pub(crate) mod data;
pub(crate) mod event;
pub(crate) mod fields;
pub(crate) mod job;
pub(crate) mod kinds;
pub(crate) mod lists;
pub(crate) mod metadata;
pub(crate) mod names;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod pod_admission;
pub(crate) mod pod_placement;
pub(crate) mod pod_update;
pub(crate) mod priority;
pub(crate) mod quantity;
pub(crate) mod quota;
pub(crate) mod quota_objects;
pub(crate) mod rbac;
pub(crate) mod secret;
pub(crate) mod service;
pub(crate) mod volume;
pub(crate) mod workload;

use serde_json::{Value, json};

use super::call::Call;
use super::error::Error;
use super::field::FieldError;
use super::meta;
use super::store::Transaction;
use super::verbs::update::count_generation;

/// The status of a new object is not the client's to set.
pub(crate) fn drop_status(call: &Call, object: &mut Value) {
    if kinds::drops_status_on_create(call)
        && let Value::Object(map) = object
    {
        map.remove("status");
    }
}

/// What the strategies' `PrepareForCreate` and the mutating admission do to a new object.
pub(crate) fn prepare_create(call: &Call, object: &mut Value) -> Result<(), Error> {
    let key = call.resource.rule_key();
    if kinds::drops_status_on_create(call) && object.get("status").is_none() {
        object["status"] = workload::new_status(key);
    }
    if kinds::counts_generation(key) {
        meta::set(object, "generation", Some(json!(1)));
    }
    lists::settle(key, object);
    match key {
        ("", "pods") => {
            pod_admission::admit(call, object)?;
            pod::prepare_create(object, call.now);
        }
        ("", "namespaces") => namespace::prepare_create(object),
        ("", "nodes") => node::prepare_create(object),
        ("", "services") => service::prepare_create(call, object),
        ("", "secrets") => secret::prepare(object),
        ("", "persistentvolumes" | "persistentvolumeclaims") => volume::protect(key, object),
        ("apps", "daemonsets") => daemonset::count_template(None, object),
        ("batch", "jobs") => job::prepare_create(call, object),
        ("scheduling.k8s.io", "priorityclasses") => priority::check_class(call, object)?,
        _ => {}
    }
    Ok(())
}

/// What makes a new object invalid.
pub(crate) fn validate_create(call: &Call, object: &Value) -> Vec<FieldError> {
    let key = call.resource.rule_key();
    let mut errors = metadata::validate_name(key, object);
    errors.extend(metadata::validate(object));
    match key {
        ("", "pods") => {
            errors.extend(pod::validate_annotations(object));
            errors.extend(pod::validate(object, "spec", true));
        }
        ("", "nodes") => errors.extend(node::validate(object)),
        ("", "configmaps" | "secrets") => errors.extend(data::validate(key, object)),
        ("", "services") => errors.extend(service::validate(object)),
        ("batch", "cronjobs") => errors.extend(cronjob::validate(object)),
        ("autoscaling", _) => errors.extend(autoscaler::validate(object)),
        _ => errors.extend(workload::validate(key, object)),
    }
    errors
}

/// What a new object that is valid is worth a warning for.
pub(crate) fn warn_create(call: &Call, object: &Value) {
    if call.resource.rule_key() == ("", "pods") {
        call.warn(pod::warnings(object));
    }
}

/// The last checks of a creation, under the store's lock.
pub(crate) fn admit_create(call: &Call, tx: &Transaction<'_>, object: &Value) -> Result<(), Error> {
    if call.resource.facts.namespaced {
        namespace::admit(call, tx, object)?;
    }
    match call.resource.rule_key() {
        ("", "pods") => quota::admit_pod(call, tx, object),
        ("", "events") => Ok(()),
        _ => quota_objects::admit(call, tx, object),
    }
}

/// What the strategies' `PrepareForUpdate` do: a subresource changes its part alone.
pub(crate) fn prepare_update(call: &Call, live: &Value, new: &mut Value) {
    let key = call.resource.rule_key();
    lists::settle(key, new);
    let restore = |new: &mut Value, field: &str| {
        if let Value::Object(map) = new {
            match live.get(field) {
                Some(value) => {
                    map.insert(field.to_owned(), value.clone());
                }
                None => {
                    map.remove(field);
                }
            }
        }
    };
    match call.path.subresource.as_str() {
        "status" => {
            let fields: Vec<String> = [live, &*new]
                .iter()
                .filter_map(|o| o.as_object())
                .flat_map(|map| map.keys().cloned())
                .filter(|f| f != "status" && f != "metadata")
                .collect();
            for field in fields {
                restore(new, &field);
            }
            match key {
                ("apps", "deployments") => {
                    let labels = live["metadata"].get("labels").cloned();
                    meta::set(new, "labels", labels);
                }
                ("", "pods") => pod::prepare_status(live, new),
                _ => {}
            }
        }
        "finalize" => {
            let finalizers = new["spec"].get("finalizers").cloned();
            restore(new, "status");
            restore(new, "spec");
            let spec = meta::map_mut(new, "spec");
            match finalizers {
                Some(finalizers) => spec.insert("finalizers".to_owned(), finalizers),
                None => spec.remove("finalizers"),
            };
        }
        "ephemeralcontainers" | "resize" => {
            restore(new, "status");
            pod_update::prepare_subresource(live, new, &call.path.subresource);
            count_generation(live, new, live.get("spec") != new.get("spec"));
        }
        _ => {
            if kinds::has_status_subresource(call) {
                restore(new, "status");
            }
            match key {
                ("", "secrets") => secret::prepare(new),
                ("", "services") => service::prepare_update(call, live, new),
                ("", "pods") => pod_admission::tolerations(new),
                _ => {}
            }
            if key == ("", "namespaces") {
                namespace::prepare_update(live, new);
            }
            if key == ("apps", "daemonsets") {
                daemonset::count_template(Some(live), new);
            }
            if kinds::counts_generation(key) {
                let changed = kinds::desired_parts(key)
                    .iter()
                    .any(|f| live.get(f) != new.get(f));
                let changed = changed
                    || (key == ("apps", "deployments")
                        && live["metadata"].get("annotations")
                            != new["metadata"].get("annotations"));
                count_generation(live, new, changed);
            }
        }
    }
}

/// What makes a change invalid.
pub(crate) fn validate_update(call: &Call, live: &Value, new: &Value) -> Vec<FieldError> {
    let key = call.resource.rule_key();
    match (key, call.path.subresource.as_str()) {
        (("", "pods"), "") => {
            let mut errors = pod::validate_annotations(new);
            errors.extend(pod_update::validate(live, new));
            errors
        }
        (("", "pods"), "resize") => {
            let mut errors = pod::validate(new, "spec", true);
            errors.extend(pod_update::validate_resize(live, new));
            errors
        }
        (("", "pods"), "status") => pod_update::validate_status(live, new),
        (("", "nodes"), "") => node::validate_update(live, new),
        (("", "persistentvolumeclaims"), "") => volume::validate_claim_update(live, new),
        (("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings"), "") => {
            rbac::validate_update(live, new)
        }
        (("", "services"), "") => {
            let mut errors = service::validate_update(live, new);
            errors.extend(service::validate(new));
            errors
        }
        (("batch", "cronjobs"), "") => cronjob::validate(new),
        (("", "secrets"), "") => {
            let mut errors = data::validate_update(live, new);
            errors.extend(workload::validate_update(key, live, new));
            errors.extend(data::validate(key, new));
            errors
        }
        (("", "configmaps"), "") => {
            let mut errors = workload::validate_update(key, live, new);
            errors.extend(data::validate(key, new));
            errors
        }
        (("autoscaling", _), "") => autoscaler::validate(new),
        (("batch", "jobs"), "") => job::validate_update(live, new),
        (_, "" | "scale") => {
            let mut errors = workload::validate(key, new);
            errors.extend(workload::validate_update(key, live, new));
            errors
        }
        _ => Vec::new(),
    }
}

/// Whether a deleted object that was just changed has nothing left to wait for.
pub(crate) fn may_vanish(object: &Value) -> bool {
    meta::is_deleting(object)
        && meta::finalizers(object).is_empty()
        && meta::int(object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0
        && namespace::may_vanish(object)
}

/// What follows from a change in the same transaction.
pub(crate) fn after_change(call: &Call, tx: &mut Transaction<'_>, object: &Value) {
    if call.resource.facts.namespaced && call.resource.rule_key() != ("", "events") {
        quota::refresh(call, tx, meta::namespace(object));
    }
    if call.resource.rule_key() == ("", "events") {
        let revision = meta::resource_version(object).parse().unwrap_or(1);
        event::expire(call, tx, revision);
    }
}
