//! `pods/binding` and `bindings`: a scheduler's decision.
//!
//! Source: `BindingREST` in `pkg/registry/core/pod/storage/storage.go`, and the `PodTopologyLabels`
//! admission plugin.

use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::{Error, GroupResource};
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::reply::Reply;
use crate::sandbox::apiserver::rules::node;
use crate::sandbox::apiserver::store::Key;
use crate::sandbox::types::table;

const PODS: GroupResource<'static> = GroupResource {
    group: "",
    resource: "pods",
};
const BINDING: GroupResource<'static> = GroupResource {
    group: "",
    resource: "pods/binding",
};

/// Binds the pod named in the path, or (for `bindings`) in the body.
pub(crate) fn bind(call: &Call) -> Result<Reply, Error> {
    let schema = table()
        .schema_of_kind("", "v1", "Binding")
        .unwrap_or_default();
    let binding = call.decode(schema, "", "v1", "Binding")?;
    let name = meta::name(&binding);
    if !call.path.subresource.is_empty() && name != call.path.name {
        return Err(Error::bad_request(
            "name in URL does not match name in Binding object",
        ));
    }
    let namespace = meta::namespace(&binding);
    if !namespace.is_empty() && namespace != call.path.namespace {
        return Err(Error::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let kind = meta::text(&binding, &["target", "kind"]);
    if !["", "Node"].contains(&kind) {
        // The real server returns these as plain errors, hence the code.
        return Err(Error::bare(
            500,
            &format!(
                "target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""
            ),
        ));
    }
    let node = meta::text(&binding, &["target", "name"]);
    if node.is_empty() {
        return Err(Error::bare(500, "target.name: Required value"));
    }
    assign(call, &binding, name, node)?;
    Ok(Reply::success(201, None))
}

fn assign(call: &Call, binding: &Value, name: &str, node_name: &str) -> Result<(), Error> {
    let registry = &call.server.registry;
    let pods = registry
        .core("", "pods")
        .ok_or_else(Error::unknown_resource)?;
    let key = Key::new(&call.path.namespace, name);
    // Old clients name no kind; the admission plugin looks at nodes alone.
    let topology = if meta::text(binding, &["target", "kind"]) == "Node" {
        node::topology_labels(call, node_name)
    } else {
        Vec::new()
    };
    call.server.store.write(|tx| {
        let live = tx.get(pods.collection, &key).ok_or_else(|| Error::not_found(PODS, name))?;
        for (wanted, found, what) in [
            (meta::uid(binding), meta::uid(&live.value), "UID"),
            (
                meta::resource_version(binding),
                meta::resource_version(&live.value),
                "ResourceVersion",
            ),
        ] {
            if !wanted.is_empty() && wanted != found {
                let why = format!(
                    "StorageError: invalid object, Code: 4, Key: /registry/pods/{}/{name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}", key.namespace
                );
                return Err(Error::conflict(PODS, name, &why));
            }
        }
        let assigned = meta::text(&live.value, &["spec", "nodeName"]);
        let refusal = if meta::is_deleting(&live.value) {
            Some(format!("pod {name} is being deleted, cannot be assigned to a host"))
        } else if !assigned.is_empty() {
            Some(format!("pod {name} is already assigned to node {assigned:?}"))
        } else if !meta::list(&live.value, &["spec", "schedulingGates"]).is_empty() {
            Some(format!("pod {name} has non-empty .spec.schedulingGates"))
        } else {
            None
        };
        if let Some(why) = refusal {
            return Err(Error::conflict(BINDING, name, &why));
        }
        if call.dry_run() {
            return Ok(());
        }
        let mut pod = live.value.clone();
        meta::map_mut(&mut pod, "spec").insert("nodeName".to_owned(), json!(node_name));
        meta::map_mut(&mut pod, "status").remove("nominatedNodeName");
        let labels = meta::labels(binding).into_iter().flatten();
        let labels = labels.map(|(k, v)| (k.as_str(), v.clone())).chain(topology);
        merge_into(&mut pod, "labels", labels);
        let annotations = binding["metadata"]["annotations"].as_object().into_iter().flatten();
        merge_into(&mut pod, "annotations", annotations.map(|(k, v)| (k.as_str(), v.clone())));
        meta::set_condition(&mut pod, "PodScheduled", "True", "", "", call.now);
        tx.put(pods.collection, key.clone(), pod);
        Ok(())
    })
}

fn merge_into<'a>(pod: &mut Value, map: &str, entries: impl Iterator<Item = (&'a str, Value)>) {
    for (key, value) in entries {
        let target = meta::metadata_mut(pod)
            .entry(map.to_owned())
            .or_insert_with(|| json!({}));
        if !target.is_object() {
            *target = json!({});
        }
        target[key] = value;
    }
}
