//! `update`, and what every other change of an existing object shares with it.
//!
//! A change is computed from the live object without any lock and stored only if the object is still
//! that one; else it is computed anew, unless the client named the version it meant.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::reply::Reply;
use crate::sandbox::apiserver::rules::{self, kinds};
use crate::sandbox::apiserver::store::Object;
use crate::sandbox::apiserver::{conversion, meta};
use crate::sandbox::types::{table, track_update};

/// How often a change is computed anew because another writer was faster.
const MAX_TRIES: usize = 100;

/// A changed object in the requested version.
pub(crate) struct Changed {
    pub(crate) object: Value,
    /// Its `managedFields` are final (server-side apply made them).
    pub(crate) tracked: bool,
}

pub(crate) fn update(call: &Call) -> Result<Reply, Error> {
    call.validate_options("UpdateOptions")?;
    let incoming = call.decode_object()?;
    check_name(call, &incoming)?;
    let created_on_update = call.path.subresource.is_empty()
        && kinds::may_create_on_update(call.resource.rule_key())
        && call.live().is_err();
    if created_on_update {
        let manager = call.manager()?;
        let uid = meta::uid(&incoming);
        if !uid.is_empty() {
            return Err(precondition(call, uid, ""));
        }
        let mut incoming = incoming;
        meta::set(&mut incoming, "resourceVersion", None);
        let created = super::create::create_object(call, incoming, |new| {
            track_update(
                table(),
                &call.resource.facts.schema,
                None,
                new,
                &manager,
                "",
                call.now,
            );
        })?;
        return Ok(call.object(201, &created));
    }
    let missing_version = meta::resource_version(&incoming).is_empty();
    if missing_version && !kinds::allows_unconditional_update(call.resource.rule_key()) {
        let facts = call.resource.facts;
        call.live()?;
        let error = FieldError::invalid(
            "metadata.resourceVersion",
            0,
            "must be specified for an update",
        );
        return Err(Error::invalid(
            &facts.group,
            &facts.name,
            &call.path.name,
            &[error],
        ));
    }
    let updated = change(call, |_| {
        Ok(Changed {
            object: incoming.clone(),
            tracked: false,
        })
    })?;
    Ok(call.object(200, &updated))
}

/// An object that says it is in another namespace than the request.
pub(crate) const MISPLACED: &str =
    "the namespace of the provided object does not match the namespace sent on the request";

/// Whether the object is the one that the path names.
pub(crate) fn check_name(call: &Call, incoming: &Value) -> Result<(), Error> {
    let name = meta::name(incoming);
    if name.is_empty() {
        return Err(Error::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.path.name
        )));
    }
    if name != call.path.name {
        return Err(Error::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.path.name
        )));
    }
    let namespace = meta::namespace(incoming);
    if !namespace.is_empty() && namespace != call.path.namespace {
        return Err(Error::bad_request(MISPLACED));
    }
    Ok(())
}

/// The object is another one than was meant.
fn precondition(call: &Call, asked: &str, found: &str) -> Error {
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {asked}, UID in object meta: {found}",
        call.resource.facts.name, call.path.namespace, call.path.name,
    );
    Error::conflict(call.resource.group_resource(), &call.path.name, &why)
}

/// Changes the named object. `derive` gets the live object in the requested version.
pub(crate) fn change(
    call: &Call,
    derive: impl Fn(&Value) -> Result<Changed, Error>,
) -> Result<Arc<Object>, Error> {
    let manager = call.manager()?;
    let resource = &call.resource;
    let gr = resource.group_resource();
    let key = call.key();
    for _ in 0..MAX_TRIES {
        let live = call.live()?;
        let viewed;
        let live_view = if resource.is_stored_version() {
            &live.value
        } else {
            viewed = conversion::from_stored(resource, &live.value);
            &viewed
        };
        let Changed { object, tracked } = derive(live_view)?;
        let named_version = meta::resource_version(&object).to_owned();
        if !named_version.is_empty() && named_version.parse::<u64>().is_err() {
            // The real server returns this as a plain error, hence the code.
            let why = format!("strconv.ParseUint: parsing {named_version:?}: invalid syntax");
            return Err(Error::bare(500, &why));
        }
        if !named_version.is_empty() && named_version != meta::resource_version(&live.value) {
            return Err(Error::modified(gr, &key.name));
        }
        let uid = meta::uid(&object);
        if !uid.is_empty() && uid != meta::uid(&live.value) {
            if call.is_patch {
                let f = resource.facts;
                let error = FieldError::invalid("metadata.uid", uid, "field is immutable");
                return Err(Error::invalid(
                    &f.group,
                    &f.kind,
                    &key.name,
                    &[error.clone(), error],
                ));
            }
            return Err(precondition(call, uid, meta::uid(&live.value)));
        }
        let fields = tracked.then(|| object["metadata"].get("managedFields").cloned());
        let mut object = object;
        let mut errors = immutable_metadata(&live.value, &object);
        let forgotten =
            !tracked && meta::list(&object, &["metadata", "managedFields"]) == [json!({})];
        // Before defaults: those of a new object are not for one that exists.
        carry_over(&live.value, &mut object);
        let mut new = call.default_and_store(object);
        rules::prepare_update(call, &live.value, &mut new);
        errors.extend(validate_metadata(&live.value, &new));
        errors.extend(rules::validate_update(call, &live.value, &new));
        if !errors.is_empty() {
            let f = resource.facts;
            return Err(Error::invalid(&f.group, &f.kind, &key.name, &errors));
        }
        match fields {
            Some(fields) => meta::set(&mut new, "managedFields", fields),
            None if forgotten => meta::set(&mut new, "managedFields", None),
            None => track(call, live_view, &mut new, &manager),
        }
        if new == live.value {
            return Ok(live);
        }
        if call.dry_run() {
            return Ok(Arc::new(Object::new(new, live.revision)));
        }
        let gone = rules::may_vanish(&new);
        let stored = call
            .server
            .store
            .write(|tx| match tx.get(resource.collection, &key) {
                None => Err(call.not_found()),
                Some(current) if current.revision != live.revision => Ok(None),
                Some(_) => {
                    let stored = tx.put(resource.collection, key.clone(), new);
                    if gone {
                        // The last finalizer went: the object goes with it.
                        tx.remove(resource.collection, &key);
                    }
                    rules::after_change(call, tx, &stored.value);
                    Ok(Some(stored))
                }
            })?;
        // Else another writer was faster. If the client named a version, the next round will see.
        if let Some(stored) = stored {
            return Ok(stored);
        }
    }
    Err(Error::modified(gr, &key.name))
}

/// Ownership is recorded in the version the client spoke.
fn track(call: &Call, live_view: &Value, new: &mut Value, manager: &str) {
    let resource = &call.resource;
    let subresource = &call.path.subresource;
    let schema = &resource.facts.schema;
    if resource.is_stored_version() {
        track_update(
            table(),
            schema,
            Some(live_view),
            new,
            manager,
            subresource,
            call.now,
        );
    } else {
        let mut view = conversion::from_stored(resource, new);
        track_update(
            table(),
            schema,
            Some(live_view),
            &mut view,
            manager,
            subresource,
            call.now,
        );
        meta::set(
            new,
            "managedFields",
            view["metadata"].get("managedFields").cloned(),
        );
    }
}

/// What no client can change.
fn carry_over(live: &Value, new: &mut Value) {
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "managedFields",
        "selfLink",
    ] {
        meta::set(new, field, live["metadata"].get(field).cloned());
    }
    if let Some(prefix) = live["metadata"].get("generateName") {
        meta::set(new, "generateName", Some(prefix.clone()));
    }
}

/// The deletion's marks are the server's.
fn immutable_metadata(live: &Value, incoming: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        let found = incoming["metadata"].get(field).filter(|v| !v.is_null());
        // One that is deleted already keeps its time, whatever the client says.
        let kept = field == "deletionTimestamp" && meta::is_deleting(live);
        if let Some(value) = found
            && !kept
            && live["metadata"].get(field) != Some(value)
        {
            let path = format!("metadata.{field}");
            errors.push(FieldError::invalid(
                path,
                value.clone(),
                "field is immutable",
            ));
        }
    }
    errors
}

fn validate_metadata(live: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = rules::metadata::validate(new);
    if meta::is_deleting(live) {
        let old = meta::finalizers(live);
        let added: Vec<String> = meta::finalizers(new)
            .iter()
            .filter(|f| !old.contains(f))
            .map(Value::to_string)
            .collect();
        if !added.is_empty() {
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
            ));
        }
    }
    errors
}

/// Sets the generation of a changed object: it counts the changes of what is desired.
pub(crate) fn count_generation(live: &Value, new: &mut Value, changed: bool) {
    let old = meta::int(live, &["metadata", "generation"]).unwrap_or(0);
    if changed {
        meta::set(new, "generation", Some(json!(old + 1)));
    }
}
