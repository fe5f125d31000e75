//! Namespaces: their life, and what they allow inside (`NamespaceLifecycle` admission).

use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::{Error, GroupResource};
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::store::{Key, Transaction};

const NAMESPACES: GroupResource<'static> = GroupResource {
    group: "",
    resource: "namespaces",
};

/// Namespaces that the server makes at its start and that cannot be deleted, except the last.
pub(crate) const INITIAL: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// A new namespace is active, labelled with its name, and held by the namespace controller.
pub(crate) fn prepare_create(object: &mut Value) {
    if let Value::Object(map) = object {
        map.insert("status".to_owned(), json!({"phase": "Active"}));
    }
    let spec = meta::map_mut(object, "spec");
    let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
    match finalizers {
        Value::Array(list) if list.iter().any(|f| f == "kubernetes") => {}
        Value::Array(list) => list.push(json!("kubernetes")),
        other => *other = json!(["kubernetes"]),
    }
    name_label(object);
}

fn name_label(object: &mut Value) {
    let name = meta::name(object).to_owned();
    let metadata = meta::metadata_mut(object);
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Value::Object(labels) = labels {
        labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    }
}

/// Finalizers in the spec change through the `finalize` subresource alone.
pub(crate) fn prepare_update(live: &Value, new: &mut Value) {
    name_label(new);
    let spec = meta::map_mut(new, "spec");
    match live["spec"].get("finalizers") {
        Some(finalizers) => spec.insert("finalizers".to_owned(), finalizers.clone()),
        None => spec.remove("finalizers"),
    };
}

/// Whether the spec's finalizers allow the object to go. True for every other kind.
pub(crate) fn may_vanish(object: &Value) -> bool {
    object["kind"] != "Namespace" || meta::list(object, &["spec", "finalizers"]).is_empty()
}

/// System namespaces stay.
pub(crate) fn check_delete(name: &str) -> Result<(), Error> {
    if ["default", "kube-system", "kube-public"].contains(&name) {
        return Err(Error::forbidden(
            NAMESPACES,
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// A namespaced object needs a namespace that exists and is not on its way out.
pub(crate) fn admit(call: &Call, tx: &Transaction<'_>, object: &Value) -> Result<(), Error> {
    let Some(resource) = call.server.registry.core("", "namespaces") else {
        return Ok(());
    };
    let key = Key::new("", meta::namespace(object));
    check(
        call,
        tx.get(resource.collection, &key).map(|found| &found.value),
        object,
    )
}

/// The same outside of a transaction: refuses early what cannot be created anyhow.
pub(crate) fn admit_early(call: &Call, object: &Value) -> Result<(), Error> {
    let Some(resource) = call.server.registry.core("", "namespaces") else {
        return Ok(());
    };
    let key = Key::new("", meta::namespace(object));
    let found = call.server.store.get(resource.collection, &key);
    check(call, found.as_ref().map(|found| &found.value), object)
}

fn check(call: &Call, found: Option<&Value>, object: &Value) -> Result<(), Error> {
    let namespace = meta::namespace(object);
    let Some(found) = found else {
        return Err(Error::not_found(NAMESPACES, namespace));
    };
    if meta::is_deleting(found) {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        return Err(
            Error::forbidden(call.resource.group_resource(), meta::name(object), &why).with_cause(
                "NamespaceTerminating",
                &format!("namespace {namespace} is being terminated"),
                "metadata.namespace",
            ),
        );
    }
    Ok(())
}
