//! `create`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::reply::Reply;
use crate::sandbox::apiserver::rules;
use crate::sandbox::apiserver::store::{Key, Object};
use crate::sandbox::apiserver::{conversion, meta};
use crate::sandbox::types::{table, track_update};

/// How often a generated name is tried (`k8s.io/apiserver/pkg/registry/generic/registry`).
const MAX_NAME_GENERATIONS: usize = 8;

pub(crate) fn create(call: &Call) -> Result<Reply, Error> {
    call.validate_options("CreateOptions")?;
    let object = call.decode_object()?;
    let manager = call.manager()?;
    let created = create_object(call, object, |new| {
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
    Ok(call.object(201, &created))
}

/// Creates an object given in the requested version. `track` records who owns its fields.
pub(crate) fn create_object(
    call: &Call,
    mut object: Value,
    track: impl Fn(&mut Value),
) -> Result<Arc<Object>, Error> {
    let facts = call.resource.facts;
    place(call, &mut object)?;
    if !meta::resource_version(&object).is_empty() {
        return Err(Error::bare(
            500,
            "resourceVersion should not be set on objects to be created",
        ));
    }
    for field in [
        "creationTimestamp",
        "uid",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
        "managedFields",
    ] {
        meta::set(&mut object, field, None);
    }
    let asked_name = meta::name(&object).to_owned();
    let prefix = meta::text(&object, &["metadata", "generateName"]).to_owned();
    let generated = asked_name.is_empty();
    let unnamed = generated && prefix.is_empty();
    if generated && !unnamed {
        meta::set(
            &mut object,
            "name",
            Some(json!(call.server.generate_name(&prefix))),
        );
    }
    let mut object = call.default_and_store(object);
    if facts.namespaced {
        rules::namespace::admit_early(call, &object)?;
    }
    rules::drop_status(call, &mut object);
    // Fields that strategies and admission add belong to nobody.
    track_in_version(call, &mut object, &track);
    meta::set(&mut object, "uid", Some(json!(call.server.new_uid())));
    rules::prepare_create(call, &mut object)?;
    let mut errors = rules::validate_create(call, &object);
    if unnamed {
        errors.retain(|error| error.field != "metadata.name");
        let error = FieldError::required("metadata.name", "name or generateName is required");
        errors.insert(0, error);
    }
    if !errors.is_empty() {
        return Err(Error::invalid(
            &facts.group,
            &facts.kind,
            meta::name(&object),
            &errors,
        ));
    }
    rules::warn_create(call, &object);
    meta::set(&mut object, "creationTimestamp", Some(meta::time(call.now)));
    let store = &call.server.store;
    for _ in 0..MAX_NAME_GENERATIONS {
        let key = Key::new(meta::namespace(&object), meta::name(&object));
        let result = store.write(|tx| {
            rules::admit_create(call, tx, &object)?;
            if tx.get(call.resource.collection, &key).is_some() {
                return Ok(None);
            }
            if call.dry_run() {
                return Ok(Some(Arc::new(Object::new(object.clone(), 0))));
            }
            let created = tx.put(call.resource.collection, key.clone(), object.clone());
            rules::after_change(call, tx, &created.value);
            Ok(Some(created))
        });
        match result? {
            Some(created) => return Ok(created),
            None if generated => {
                meta::set(
                    &mut object,
                    "name",
                    Some(json!(call.server.generate_name(&prefix))),
                );
            }
            None if store
                .get(call.resource.collection, &key)
                .is_some_and(|live| meta::is_deleting(&live.value)) =>
            {
                return Err(Error::being_deleted(
                    call.resource.group_resource(),
                    meta::name(&object),
                ));
            }
            None => {
                return Err(Error::already_exists(
                    call.resource.group_resource(),
                    meta::name(&object),
                ));
            }
        }
    }
    Err(Error::generate_name_conflict(
        call.resource.group_resource(),
        meta::name(&object),
    ))
}

/// Ownership is recorded in the version the client spoke; events and autoscalers are converted for it.
fn track_in_version(call: &Call, object: &mut Value, track: &impl Fn(&mut Value)) {
    if call.resource.is_stored_version() {
        track(object);
    } else {
        let mut view = conversion::from_stored(&call.resource, object);
        track(&mut view);
        let fields = view["metadata"].get("managedFields").cloned();
        meta::set(object, "managedFields", fields);
    }
}

/// Puts the object into the request's namespace, or refuses one that says otherwise.
fn place(call: &Call, object: &mut Value) -> Result<(), Error> {
    let namespace = &call.path.namespace;
    if !call.resource.facts.namespaced {
        meta::set(object, "namespace", None);
        return Ok(());
    }
    let found = meta::namespace(object);
    if !found.is_empty() && found != namespace {
        return Err(Error::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    meta::set(object, "namespace", Some(json!(namespace)));
    Ok(())
}
