//! `patch`: JSON patch, merge patch, strategic merge patch and server-side apply.

use std::sync::Arc;

use serde_json::Value;

use super::create::create_object;
use super::json_patch::JsonPatch;
use super::update::{Changed, MISPLACED, change, check_name};
use crate::sandbox::apiserver::call::{Call, FieldValidation};
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::json_error::syntax_error;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::reply::Reply;
use crate::sandbox::apiserver::store::Object;
use crate::sandbox::types::{
    ApplyError, decode, go_text, prune_and_check, server_side_apply_to, split_api_version,
    strategic_merge, table, undeclared,
};

/// Operations that one JSON patch may have (`maxJSONPatchOperations`).
const MAX_OPERATIONS: usize = 10_000;

/// A patch, parsed once and applied to whatever is live.
pub(crate) enum Patch {
    Json(JsonPatch),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    /// Parses the body by its content type; `None` for server-side apply.
    pub(crate) fn parse(call: &Call) -> Result<Option<Self>, Error> {
        let body = &call.body;
        let strategic = call.content_type == "application/strategic-merge-patch+json";
        let object = || -> Result<Value, Error> {
            if let Some(error) = syntax_error(body) {
                let prefix = if strategic {
                    ""
                } else {
                    "error decoding patch: "
                };
                return Err(Error::bad_request(format!("{prefix}{error}")));
            }
            let value: Value = serde_json::from_slice(body)
                .map_err(|error| Error::bad_request(format!("error decoding patch: {error}")))?;
            match &value {
                Value::Object(_) => Ok(value),
                // Go takes null for an empty map; the library for merge patches does not.
                Value::Null if strategic => Ok(Value::Object(serde_json::Map::new())),
                Value::Null => Err(Error::bad_request("Invalid JSON Patch")),
                other => {
                    let prefix = if strategic {
                        ""
                    } else {
                        "error decoding patch: "
                    };
                    Err(Error::bad_request(format!(
                        "{prefix}json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                        json_kind(other)
                    )))
                }
            }
        };
        match call.content_type.as_str() {
            "application/json-patch+json" => {
                if let Some(error) = syntax_error(body) {
                    return Err(Error::bad_request(format!("error decoding patch: {error}")));
                }
                let document = serde_json::from_slice(body).map_err(|error| {
                    Error::bad_request(format!("error decoding patch: {error}"))
                })?;
                let patch = JsonPatch::parse(document)
                    .map_err(|why| Error::bad_request(format!("error decoding patch: {why}")))?;
                if patch.len() > MAX_OPERATIONS {
                    return Err(Error::too_large(&format!(
                        "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                        patch.len()
                    )));
                }
                Ok(Some(Self::Json(patch)))
            }
            "application/merge-patch+json" => Ok(Some(Self::Merge(object()?))),
            "application/strategic-merge-patch+json" => Ok(Some(Self::Strategic(object()?))),
            "application/apply-patch+yaml" => Ok(None),
            _ => Err(Error::unsupported_media_type()),
        }
    }

    /// The patched document.
    pub(crate) fn apply(&self, schema: &str, live: &Value) -> Result<Value, Error> {
        match self {
            Self::Json(patch) => patch.apply(live).map_err(|_| Error::unprocessable()),
            Self::Merge(patch) => {
                let mut new = live.clone();
                json_patch::merge(&mut new, patch);
                Ok(new)
            }
            Self::Strategic(patch) => strategic_merge(table(), schema, live, patch)
                // The real server returns these as plain errors, hence the code.
                .map_err(|error| Error::bare(500, &error.to_string())),
        }
    }

    /// What is shown of a patched document that is none of its kind, and why it is none.
    fn complaint(&self, object: &Value, why: &str) -> Error {
        match self {
            Self::Strategic(patch) => {
                patch_error(&Value::String(go_text(patch)), &conversion_error(why))
            }
            Self::Json(_) | Self::Merge(_) => patch_error(object, why),
        }
    }
}

/// A strategic patch is converted without JSON between, and complains in the words of
/// `apimachinery/pkg/runtime/converter.go`.
fn conversion_error(error: &str) -> String {
    let words = error
        .strip_prefix("json: cannot unmarshal ")
        .and_then(|rest| rest.split_once(" into "))
        .and_then(|(given, rest)| Some((given, rest.rsplit_once(" of type ")?.1)));
    let Some((given, wanted)) = words else {
        return error.to_owned();
    };
    let given = match given.split(' ').next().unwrap_or(given) {
        "array" => "slice",
        "object" => "map",
        "number" => "int64",
        other => other,
    };
    if wanted.starts_with("map[") || wanted.ends_with("ResourceList") {
        format!("cannot restore map from {given}")
    } else if wanted.starts_with("[]") {
        format!("cannot restore slice from {given}")
    } else if wanted.contains('.') && !matches!(given, "map" | "slice") {
        format!("cannot restore struct from: {given}")
    } else if wanted.contains('.') {
        // A named text, such as v1.PullPolicy.
        "unrecognized type: string".to_owned()
    } else if (given, wanted) == ("int64", "string") {
        // Go would turn the number into a character.
        "cannot convert int64 to string".to_owned()
    } else {
        format!("unrecognized type: {wanted}")
    }
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A patched document that is no object of the kind; the real server shows all of it.
fn patch_error(object: &Value, why: &str) -> Error {
    let shown = match object {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let error = FieldError::invalid("patch", shown, why);
    Error::invalid("", "", "", &[error])
}

/// Drops unknown fields of a patched object and reports them as the client wishes.
pub(crate) fn check(
    call: &Call,
    schema: &str,
    patch: &Patch,
    object: &mut Value,
) -> Result<(), Error> {
    if !object.is_object() {
        return Err(patch_error(object, "the patched document is no object"));
    }
    let unknown = prune_and_check(table(), schema, object);
    let unknown = unknown.map_err(|e| patch.complaint(object, &e.to_string()))?;
    if unknown.is_empty() {
        return Ok(());
    }
    match call.field_validation()? {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            call.warn(unknown);
            Ok(())
        }
        FieldValidation::Strict => {
            let why = format!("strict decoding error: {}", unknown.join(", "));
            Err(patch.complaint(object, &why))
        }
    }
}

pub(crate) fn patch(call: &Call) -> Result<Reply, Error> {
    call.validate_options("PatchOptions")?;
    match Patch::parse(call)? {
        Some(patch) => {
            let facts = call.resource.facts;
            let patched = change(call, |live| {
                let mut object = patch.apply(&facts.schema, live)?;
                same_kind(call, &mut object)?;
                check(call, &facts.schema, &patch, &mut object)?;
                same_name(call, &object)?;
                Ok(Changed {
                    object,
                    tracked: false,
                })
            })?;
            Ok(call.object(200, &patched))
        }
        None => {
            let (code, applied) = apply(call)?;
            Ok(call.object(code, &applied))
        }
    }
}

/// A patch may not turn an object into one of another kind; none is as good as its own.
fn same_kind(call: &Call, object: &mut Value) -> Result<(), Error> {
    let facts = call.resource.facts;
    if let Value::Object(map) = object {
        for (field, own) in [
            ("kind", &facts.kind),
            ("apiVersion", &call.resource.api_version),
        ] {
            if map.get(field).is_none_or(|v| v.is_null() || v == "") {
                map.insert(field.to_owned(), Value::String(own.clone()));
            }
        }
    }
    let kind = meta::text(object, &["kind"]);
    let api_version = meta::text(object, &["apiVersion"]);
    if kind == facts.kind && api_version == call.resource.api_version {
        return Ok(());
    }
    let (group, version) = split_api_version(api_version);
    let why = if table().schema_of_kind(group, version, kind).is_some() {
        let own = if facts.group.is_empty() {
            "core"
        } else {
            &facts.group
        };
        format!(
            "converting ({version}.{kind}) to ({own}.{}): unknown conversion",
            facts.kind
        )
    } else {
        format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
        )
    };
    Err(patch_error(object, &why))
}

/// Nor into another object.
fn same_name(call: &Call, object: &Value) -> Result<(), Error> {
    check_name(call, object)?;
    if call.resource.facts.namespaced && meta::namespace(object).is_empty() {
        return Err(Error::bad_request(MISPLACED));
    }
    Ok(())
}

/// Server-side apply: creates the object if it is missing.
fn apply(call: &Call) -> Result<(u16, Arc<Object>), Error> {
    let facts = call.resource.facts;
    let manager = call.query.get("fieldManager").to_owned();
    let force = call.query.flag("force").unwrap_or(false);
    let decoded = decode(table(), &facts.schema, "application/yaml", &call.body)
        .map_err(|error| Error::bad_request(format!("error decoding YAML: {error}")))?;
    let mut applied = decoded.object;
    let undeclared: Vec<String> = decoded
        .strict_errors
        .iter()
        .filter_map(|error| undeclared(table(), &facts.schema, &applied, error))
        .collect();
    if !undeclared.is_empty() {
        return Err(not_typed(call, meta::namespace(&applied), &undeclared));
    }
    if !decoded.strict_errors.is_empty() {
        match call.field_validation()? {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => call.warn(decoded.strict_errors),
            FieldValidation::Strict => {
                return Err(Error::bad_request(format!(
                    "error strict decoding YAML: {}",
                    decoded.strict_errors.join(", ")
                )));
            }
        }
    }
    let kind = meta::text(&applied, &["kind"]);
    let api_version = meta::text(&applied, &["apiVersion"]);
    if kind != facts.kind || api_version != call.resource.api_version {
        return Err(Error::bad_request(format!(
            "invalid object type: {}, Kind={kind}",
            if api_version.contains('/') {
                api_version.to_owned()
            } else {
                format!("/{api_version}")
            }
        )));
    }
    if applied["metadata"]
        .get("managedFields")
        .is_some_and(|f| !f.is_null())
    {
        return Err(Error::bad_request("metadata.managedFields must be nil"));
    }
    let misplaced = meta::namespace(&applied);
    if !misplaced.is_empty() && misplaced != call.path.namespace {
        return Err(Error::bad_request(MISPLACED));
    }
    // What is owned is what was written, also where it says nothing: `{}`, `null`.
    let written = decode(table(), "-", "application/yaml", &call.body);
    applied = written.map_or(applied, |written| written.object);
    let name = meta::name(&applied).to_owned();
    if !name.is_empty() && name != call.path.name {
        return Err(Error::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.path.name
        )));
    }
    meta::set(
        &mut applied,
        "name",
        Some(Value::String(call.path.name.clone())),
    );
    if facts.namespaced {
        meta::set(
            &mut applied,
            "namespace",
            Some(Value::String(call.path.namespace.clone())),
        );
    }
    let merge = |live: Option<&Value>| {
        let mut merged = server_side_apply_to(
            table(),
            &facts.schema,
            &call.path.subresource,
            live,
            &applied,
            (&manager, force),
            call.now,
        )
        .map_err(apply_error)?;
        prune_and_check(table(), &facts.schema, &mut merged)
            .map_err(|error| patch_error(&merged, &error.to_string()))?;
        Ok(merged)
    };
    if call.live().is_ok() || !call.path.subresource.is_empty() {
        let changed = change(call, |live| {
            Ok(Changed {
                object: merge(Some(live))?,
                tracked: true,
            })
        })?;
        return Ok((200, changed));
    }
    if !meta::uid(&applied).is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            meta::uid(&applied)
        );
        return Err(Error::conflict(
            call.resource.group_resource(),
            &call.path.name,
            &why,
        ));
    }
    let object = merge(None)?;
    let fields = object["metadata"].get("managedFields").cloned();
    let created = create_object(call, object, |new| {
        meta::set(new, "managedFields", fields.clone())
    })?;
    Ok((201, created))
}

/// What is applied must fit the schema, whatever `fieldValidation` says (structured-merge-diff's
/// `ValidationErrors`; an error without a reason of its own).
fn not_typed(call: &Call, namespace: &str, errors: &[String]) -> Error {
    let facts = call.resource.facts;
    let said = match errors {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    Error::bare(
        500,
        &format!(
            "failed to create typed patch object ({namespace}/{}; {}/{}, Kind={}): {said}",
            call.path.name, facts.group, facts.version, facts.kind,
        ),
    )
}

fn apply_error(error: ApplyError) -> Error {
    let message = error.to_string();
    match error {
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts
                .into_iter()
                .map(|c| (c.message, c.field))
                .collect();
            Error::apply_conflict(message, causes)
        }
        ApplyError::ManagedFields | ApplyError::NotAnObject => Error::bad_request(message),
    }
}
