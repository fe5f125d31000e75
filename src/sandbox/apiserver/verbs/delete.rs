//! `delete` and `deletecollection`: grace, finalizers, propagation, preconditions.
//!
//! The order of decisions is that of `k8s.io/apiserver/pkg/registry/generic/registry/store.go`
//! (`Delete`) and `…/rest/delete.go` (`BeforeDelete`).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::{Error, GroupResource};
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::json_error::syntax_error;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::registry::Resource;
use crate::sandbox::apiserver::reply::Reply;
use crate::sandbox::apiserver::rules::{self, kinds, namespace, pod};
use crate::sandbox::apiserver::store::{Key, Object, Transaction};
use crate::sandbox::apiserver::verbs::list::{self, Listed, Selection};
use crate::sandbox::types::{self, table};

/// `metav1.DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) propagation_policy: Option<String>,
    pub(crate) orphan_dependents: Option<bool>,
    pub(crate) dry_run: bool,
    /// Asked for in words that are none.
    bad_dry_run: Option<Value>,
}

impl DeleteOptions {
    /// Reads the decoded object.
    pub(crate) fn from_object(object: &Value) -> Result<Self, Error> {
        let text = |path: &[&str]| {
            meta::at(object, path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let options = Self {
            uid: text(&["preconditions", "uid"]).filter(|u| !u.is_empty()),
            resource_version: text(&["preconditions", "resourceVersion"]).filter(|v| !v.is_empty()),
            grace_period_seconds: meta::int(object, &["gracePeriodSeconds"]),
            propagation_policy: text(&["propagationPolicy"]),
            orphan_dependents: object.get("orphanDependents").and_then(Value::as_bool),
            dry_run: meta::list(object, &["dryRun"]).iter().any(|v| v == "All"),
            bad_dry_run: bad_dry_run(meta::list(object, &["dryRun"]).to_vec()),
        };
        options.validate()?;
        Ok(options)
    }

    /// From the body if there is one, else from the query.
    fn parse(call: &Call) -> Result<Self, Error> {
        if !call.body.is_empty() {
            let schema = table()
                .schema_of_kind("", "v1", "DeleteOptions")
                .unwrap_or_default();
            // Clients may say any served version, or none, for these options.
            let accepted = [
                "application/json",
                "application/yaml",
                "application/vnd.kubernetes.protobuf",
            ];
            if !accepted.contains(&call.content_type.as_str()) {
                return Err(Error::unknown_format());
            }
            let decoded = types::decode(table(), schema, &call.content_type, &call.body);
            let object = decoded
                .map_err(|error| {
                    let why = error.to_string();
                    let unnamed = call.content_type == "application/json"
                        && (syntax_error(&call.body).is_some() || why.contains("APIVersion"));
                    let prefix = if unnamed {
                        "couldn't get version/kind; json parse error: "
                    } else {
                        ""
                    };
                    Error::bad_request(format!("{prefix}{why}"))
                })?
                .object;
            let kind = meta::text(&object, &["kind"]);
            if !["", "DeleteOptions"].contains(&kind) {
                return Err(Error::bad_request(format!(
                    "no kind {kind:?} is registered for version {:?} in scheme \"pkg/runtime/scheme.go:111\"",
                    meta::text(&object, &["apiVersion"])
                )));
            }
            let mut options = Self::from_object(&object)?;
            options.dry_run |= call.dry_run();
            return Ok(options);
        }
        let query = &call.query;
        let grace = query.get("gracePeriodSeconds");
        let grace_period_seconds = match grace {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                Error::bad_request(format!(
                    "strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            })?),
        };
        let policy = query.get("propagationPolicy");
        let options = Self {
            grace_period_seconds,
            propagation_policy: (!policy.is_empty()).then(|| policy.to_owned()),
            orphan_dependents: query.flag("orphanDependents"),
            dry_run: query.is_dry_run(),
            bad_dry_run: bad_dry_run(query.all("dryRun").map(Value::from).collect()),
            ..Self::default()
        };
        options.validate()?;
        Ok(options)
    }

    fn validate(&self) -> Result<(), Error> {
        let mut errors = Vec::new();
        if self.propagation_policy.is_some() && self.orphan_dependents.is_some() {
            errors.push(FieldError::invalid(
                "propagationPolicy",
                self.propagation_policy.clone().unwrap_or_default(),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        if let Some(policy) = self.propagation_policy.as_deref()
            && !["Foreground", "Background", "Orphan"].contains(&policy)
        {
            errors.push(FieldError::not_supported(
                "propagationPolicy",
                policy,
                &["Foreground", "Background", "Orphan", "nil"],
            ));
        }
        if let Some(asked) = &self.bad_dry_run {
            errors.push(FieldError::not_supported("dryRun", asked.clone(), &["All"]));
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid("meta.k8s.io", "DeleteOptions", "", &errors))
        }
    }
}

/// The values of `dryRun`, if one of them is unknown.
fn bad_dry_run(asked: Vec<Value>) -> Option<Value> {
    let bad = asked.iter().any(|v| v != "All" && v != "");
    bad.then_some(Value::Array(asked))
}

/// What became of an object that was deleted.
pub(crate) struct Deleted {
    /// Its last state.
    pub(crate) object: Arc<Object>,
    /// Whether it is gone; else it waits for its grace period or its finalizers.
    pub(crate) gone: bool,
}

/// Deletes, or begins to delete, one object.
pub(crate) fn delete_object(
    tx: &mut Transaction<'_>,
    resource: &Resource,
    key: &Key,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Deleted, Error> {
    let gr = resource.group_resource();
    let live = tx
        .get(resource.collection, key)
        .cloned()
        .ok_or_else(|| Error::not_found(gr, &key.name))?;
    check_preconditions(resource, key, &live.value, options)?;
    let kind = resource.rule_key();
    if kind == ("", "namespaces") {
        namespace::check_delete(&key.name)?;
    }
    let mut new = live.value.clone();
    // Some(seconds): deletion is graceful with that period. Only pods know grace.
    let grace = if kind == ("", "pods") {
        match graceful(&mut new, options.grace_period_seconds, now) {
            Some(period) => Some(period),
            // Pending: nothing changes. (A pod that nothing holds any more goes.)
            None if !options.dry_run && rules::may_vanish(&live.value) => Some(0),
            None => {
                return Ok(Deleted {
                    object: live,
                    gone: false,
                });
            }
        }
    } else {
        None
    };
    let new_finalizers = gc_finalizers(&new, options);
    let finalizers_changed = new_finalizers.as_slice() != meta::finalizers(&live.value);
    if finalizers_changed {
        let value = (!new_finalizers.is_empty()).then(|| json!(new_finalizers));
        meta::set(&mut new, "finalizers", value);
    }
    let held =
        !new_finalizers.is_empty() || (kind == ("", "namespaces") && !namespace::may_vanish(&new));
    if kind == ("", "namespaces") && held {
        if !meta::is_deleting(&new) {
            meta::set(&mut new, "deletionTimestamp", Some(meta::time(now)));
        }
        meta::map_mut(&mut new, "status").insert("phase".to_owned(), json!("Terminating"));
    } else if held && grace.is_none() {
        mark(&mut new, now, 0);
    }
    let stays = held || grace.is_some_and(|period| period > 0);
    if options.dry_run {
        return Ok(Deleted {
            object: Arc::new(Object::new(new, live.revision)),
            gone: !stays,
        });
    }
    let mut object = live.clone();
    if (held || grace.is_some()) && new != live.value {
        object = tx.put(resource.collection, key.clone(), new);
    }
    if stays {
        return Ok(Deleted {
            object,
            gone: false,
        });
    }
    match tx.remove(resource.collection, key) {
        Some(object) => Ok(Deleted { object, gone: true }),
        None => Err(Error::not_found(gr, &key.name)),
    }
}

/// Begins or shortens a pod's graceful deletion and answers its period; `None` if one is under way
/// that is not to be shortened (`rest.BeforeDelete`).
fn graceful(pod: &mut Value, asked: Option<i64>, now: Timestamp) -> Option<i64> {
    if !meta::is_deleting(pod) {
        let period = pod::grace_period(pod, asked);
        mark(pod, now, period);
        return Some(period);
    }
    let old = meta::int(pod, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
    let period = asked.filter(|period| *period < old)?;
    let deadline = meta::text(pod, &["metadata", "deletionTimestamp"])
        .parse()
        .unwrap_or(now);
    let deadline = deadline.checked_sub(SignedDuration::from_secs(old.saturating_sub(period)));
    meta::set(
        pod,
        "deletionTimestamp",
        Some(meta::time(deadline.unwrap_or(now))),
    );
    meta::set(pod, "deletionGracePeriodSeconds", Some(json!(period)));
    Some(period)
}

fn mark(object: &mut Value, now: Timestamp, grace: i64) {
    if meta::is_deleting(object) {
        return;
    }
    let deadline = now
        .checked_add(SignedDuration::from_secs(grace))
        .unwrap_or(now);
    meta::set(object, "deletionTimestamp", Some(meta::time(deadline)));
    meta::set(object, "deletionGracePeriodSeconds", Some(json!(grace)));
    meta::bump_generation(object);
}

fn check_preconditions(
    resource: &Resource,
    key: &Key,
    live: &Value,
    options: &DeleteOptions,
) -> Result<(), Error> {
    // The real server names the kind here, not the resource.
    let gr = GroupResource {
        group: &resource.facts.group,
        resource: &resource.facts.kind,
    };
    // Namespaces are deleted by a rule of their own, which leaves this to the storage layer.
    if resource.rule_key() == ("", "namespaces")
        && let Some(uid) = options.uid.as_deref().filter(|uid| *uid != meta::uid(live))
    {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            meta::uid(live)
        );
        return Err(Error::conflict(resource.group_resource(), &key.name, &why));
    }
    if let Some(uid) = &options.uid
        && uid != meta::uid(live)
    {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            meta::uid(live)
        );
        return Err(Error::conflict(gr, &key.name, &why));
    }
    if let Some(version) = &options.resource_version
        && version != meta::resource_version(live)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            meta::resource_version(live)
        );
        return Err(Error::conflict(gr, &key.name, &why));
    }
    Ok(())
}

/// The finalizers that the garbage collector is asked to work on, beside the object's own.
fn gc_finalizers(object: &Value, options: &DeleteOptions) -> Vec<Value> {
    let old = meta::finalizers(object);
    let has = |name: &str| old.iter().any(|f| f == name);
    let (orphan, foreground) = match (
        options.orphan_dependents,
        options.propagation_policy.as_deref(),
    ) {
        (Some(orphan), _) => (orphan, false),
        (_, Some("Orphan")) => (true, false),
        (_, Some("Foreground")) => (false, true),
        (_, Some(_)) => (false, false),
        (_, None) => (has("orphan"), has("foregroundDeletion")),
    };
    let mut finalizers: Vec<Value> = old
        .iter()
        .filter(|f| *f != "orphan" && *f != "foregroundDeletion")
        .cloned()
        .collect();
    if orphan {
        finalizers.push(json!("orphan"));
    }
    if foreground {
        finalizers.push(json!("foregroundDeletion"));
    }
    finalizers
}

pub(crate) fn delete(call: &Call) -> Result<Reply, Error> {
    let options = DeleteOptions::parse(call)?;
    let key = call.key();
    let deleted = call.server.store.write(|tx| {
        let deleted = delete_object(tx, &call.resource, &key, &options, call.now)?;
        if !options.dry_run {
            rules::after_change(call, tx, &deleted.object.value);
        }
        Ok::<_, Error>(deleted)
    })?;
    if !deleted.gone || kinds::returns_deleted_object(call.resource.rule_key()) {
        let accepted = !deleted.gone && options.orphan_dependents == Some(false);
        return Ok(call.object(if accepted { 202 } else { 200 }, &deleted.object));
    }
    let facts = call.resource.facts;
    let mut details =
        json!({"name": key.name, "kind": facts.name, "uid": meta::uid(&deleted.object.value)});
    if !facts.group.is_empty() {
        details["group"] = json!(facts.group);
    }
    Ok(Reply::success(200, Some(details)))
}

pub(crate) fn delete_collection(call: &Call) -> Result<Reply, Error> {
    let options = DeleteOptions::parse(call)?;
    list::validate(&call.query, false)?;
    let selection = Selection::parse(call)?;
    let listed = list::read(call, &selection)?;
    let mut objects = Vec::with_capacity(listed.objects.len());
    for object in &listed.objects {
        let key = Key::new(meta::namespace(&object.value), meta::name(&object.value));
        let result = call.server.store.write(|tx| {
            let deleted = delete_object(tx, &call.resource, &key, &options, call.now)?;
            if !options.dry_run {
                rules::after_change(call, tx, &deleted.object.value);
            }
            Ok::<_, Error>(deleted)
        });
        match result {
            Ok(_) => objects.push(object.clone()),
            // Somebody else deleted it meanwhile: that is what was wanted.
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(list::render(
        call,
        &Listed {
            objects,
            metadata: listed.metadata,
        },
    ))
}
