//! `scale` of workloads: an `autoscaling/v1` Scale made of `spec.replicas`.
//!
//! Source: `ScaleREST` in `pkg/registry/apps/deployment/storage/storage.go` and its siblings.

use http::Method;
use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::reply::Reply;
use crate::sandbox::apiserver::selector::LabelSelector;
use crate::sandbox::apiserver::verbs::patch::{Patch, check};
use crate::sandbox::apiserver::verbs::update::{Changed, change, check_name};
use crate::sandbox::types::table;

/// The Scale of an object.
fn scale_of(object: &Value) -> Value {
    let mut metadata = json!({
        "name": meta::name(object),
        "namespace": meta::namespace(object),
        "uid": meta::uid(object),
        "resourceVersion": meta::resource_version(object),
        "creationTimestamp": object["metadata"]["creationTimestamp"],
    });
    if metadata["creationTimestamp"].is_null() {
        metadata["creationTimestamp"] = Value::Null;
    }
    let mut status = json!({"replicas": meta::int(object, &["status", "replicas"]).unwrap_or(0)});
    // The selector of a ReplicationController is a plain map.
    let selector = &object["spec"]["selector"];
    let text = if object["kind"] == "ReplicationController" {
        print_selector(&json!({"matchLabels": selector}))
    } else {
        print_selector(selector)
    };
    if !text.is_empty() {
        status["selector"] = json!(text);
    }
    let replicas = meta::int(object, &["spec", "replicas"]).unwrap_or(0);
    let spec = if replicas == 0 {
        json!({})
    } else {
        json!({"replicas": replicas})
    };
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": metadata, "spec": spec, "status": status,
    })
}

/// A label selector as `metav1.FormatLabelSelector` prints it: sorted by key.
fn print_selector(selector: &Value) -> String {
    let mut terms: Vec<(String, String)> = Vec::new();
    if let Some(labels) = selector["matchLabels"].as_object() {
        for (key, value) in labels {
            let value = value.as_str().unwrap_or_default();
            terms.push((key.clone(), format!("{key}={value}")));
        }
    }
    for expression in meta::list(selector, &["matchExpressions"]) {
        let key = meta::text(expression, &["key"]);
        let mut values: Vec<&str> = meta::list(expression, &["values"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        values.sort_unstable();
        let values = values.join(",");
        let term = match meta::text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        };
        terms.push((key.to_owned(), term));
    }
    debug_assert!(LabelSelector::from_object(Some(selector)).is_ok() || terms.is_empty());
    terms.sort_by(|a, b| a.0.cmp(&b.0));
    terms
        .into_iter()
        .map(|(_, term)| term)
        .collect::<Vec<_>>()
        .join(",")
}

pub(crate) fn scale(call: &Call, method: &Method) -> Result<Reply, Error> {
    let schema = table()
        .schema_of_kind("autoscaling", "v1", "Scale")
        .unwrap_or_default();
    if *method == Method::GET {
        return Ok(Reply::derived(call, 200, scale_of(&call.live()?.value)));
    }
    let changed = if *method == Method::PUT {
        let incoming = call.decode(schema, "autoscaling", "v1", "Scale")?;
        change(call, |live| apply(call, live, &incoming))?
    } else {
        let Some(patch) = Patch::parse(call)? else {
            return Err(Error::unsupported_media_type());
        };
        change(call, |live| {
            let mut scaled = patch.apply(schema, &scale_of(live))?;
            check(call, schema, &patch, &mut scaled)?;
            apply(call, live, &scaled)
        })?
    };
    Ok(Reply::json(200, &scale_of(&changed.value)))
}

/// The object with a Scale's replicas; the Scale's `resourceVersion` and `uid` are preconditions.
fn apply(call: &Call, live: &Value, scale: &Value) -> Result<Changed, Error> {
    check_name(call, scale)?;
    let replicas = meta::int(scale, &["spec", "replicas"]).unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::invalid(
            "spec.replicas",
            replicas,
            "must be greater than or equal to 0",
        );
        return Err(Error::invalid(
            "autoscaling",
            "Scale",
            &call.path.name,
            &[error],
        ));
    }
    let mut object = live.clone();
    for field in ["resourceVersion", "uid"] {
        let value = scale["metadata"]
            .get(field)
            .filter(|v| v.as_str().is_some_and(|s| !s.is_empty()));
        meta::set(&mut object, field, value.cloned());
    }
    meta::map_mut(&mut object, "spec").insert("replicas".to_owned(), json!(replicas));
    Ok(Changed {
        object,
        tracked: false,
    })
}
