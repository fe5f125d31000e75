//! One request on a resource, with all that a verb needs to know.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::accept::Accept;
use super::error::Error;
use super::field::FieldError;
use super::json_error::syntax_error;
use super::path::ResourcePath;
use super::query::Query;
use super::registry::Resource;
use super::reply::Reply;
use super::server::Server;
use super::store::{Key, Object};
use super::{conversion, meta};
use crate::sandbox::types::{self, decode, table};

/// Longest name of a field manager, in bytes.
const MAX_MANAGER: usize = 128;

/// What to do with fields that the type does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// A request on a resource.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) server: Arc<Server>,
    pub(crate) resource: Arc<Resource>,
    pub(crate) path: ResourcePath,
    pub(crate) query: Query,
    pub(crate) accept: Accept,
    /// Media type of the body, without parameters; JSON if the client does not say.
    pub(crate) content_type: String,
    pub(crate) user_agent: String,
    pub(crate) body: Bytes,
    /// The method is PATCH.
    pub(crate) is_patch: bool,
    pub(crate) now: Timestamp,
    /// Texts for `Warning` headers.
    pub(crate) warnings: RefCell<Vec<String>>,
}

impl Call {
    /// The key of the named object.
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.path.namespace, &self.path.name)
    }

    pub(crate) fn not_found(&self) -> Error {
        Error::not_found(self.resource.group_resource(), &self.path.name)
    }

    pub(crate) fn live(&self) -> Result<Arc<Object>, Error> {
        self.server
            .store
            .get(self.resource.collection, &self.key())
            .ok_or_else(|| self.not_found())
    }

    /// Who is recorded in `managedFields`: the parameter, else the start of the user agent.
    pub(crate) fn manager(&self) -> Result<String, Error> {
        let asked = self.query.get("fieldManager");
        if !asked.is_empty() {
            return Ok(asked.to_owned());
        }
        let agent: String = self
            .user_agent
            .split('/')
            .next()
            .unwrap_or_default()
            .chars()
            .filter(|c| !c.is_control())
            .take(128)
            .collect();
        Ok(if agent.is_empty() {
            "unknown".to_owned()
        } else {
            agent
        })
    }

    pub(crate) fn field_validation(&self) -> Result<FieldValidation, Error> {
        match self.query.get("fieldValidation") {
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            "Strict" => Ok(FieldValidation::Strict),
            // It was refused before.
            _ => Ok(FieldValidation::Warn),
        }
    }

    /// Whether the write's options are valid; `kind` is theirs (`CreateOptions`).
    pub(crate) fn validate_options(&self, kind: &str) -> Result<(), Error> {
        let query = &self.query;
        let mut errors = Vec::new();
        if kind == "PatchOptions" {
            let applies = self.content_type == "application/apply-patch+yaml";
            if applies && query.get("fieldManager").is_empty() {
                let why = "is required for apply patch";
                errors.push(FieldError::required("fieldManager", why));
            }
            if !applies && query.flag("force").is_some() {
                let why = "may not be specified for non-apply patch";
                errors.push(FieldError::forbidden("force", why));
            }
        }
        let manager = query.get("fieldManager");
        if manager.len() > MAX_MANAGER {
            errors.push(FieldError::too_long("fieldManager", MAX_MANAGER));
        }
        for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
            let why = format!(
                "invalid character U+{:04X} (at position {at})",
                u32::from(c)
            );
            errors.push(FieldError::invalid("fieldManager", manager, why));
        }
        let dry_run: Vec<&str> = query.all("dryRun").filter(|v| !v.is_empty()).collect();
        if dry_run.iter().any(|v| *v != "All") {
            errors.push(FieldError::not_supported(
                "dryRun",
                json!(dry_run),
                &["All"],
            ));
        }
        let validation = query.get("fieldValidation");
        let known = ["", "Ignore", "Strict", "Warn"];
        if !known.contains(&validation) {
            errors.push(FieldError::not_supported(
                "fieldValidation",
                validation,
                &known,
            ));
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Error::invalid("meta.k8s.io", kind, "", &errors))
        }
    }

    pub(crate) fn dry_run(&self) -> bool {
        self.query.is_dry_run()
    }

    pub(crate) fn warn(&self, texts: impl IntoIterator<Item = String>) {
        self.warnings.borrow_mut().extend(texts);
    }

    /// The body as an object of the resource's kind in the requested version, with unknown fields
    /// dropped (and reported as the client wishes).
    pub(crate) fn decode_object(&self) -> Result<Value, Error> {
        let facts = self.resource.facts;
        self.decode(&facts.schema, &facts.group, &facts.version, &facts.kind)
    }

    /// The body as an object of a named kind.
    pub(crate) fn decode(
        &self,
        schema: &str,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Value, Error> {
        const ACCEPTED: [&str; 3] = [
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ];
        if !ACCEPTED.contains(&self.content_type.as_str()) {
            return Err(Error::unknown_format());
        }
        let validation = self.field_validation()?;
        // Go takes null for an object without fields.
        let null = self.body.trim_ascii() == b"null";
        let body: &[u8] = if null { b"{}" } else { &self.body };
        let decoded = decode(table(), schema, &self.content_type, body)
            .map_err(|error| self.undecodable(version, kind, &error.to_string()))?;
        let mut object = decoded.object;
        if !object.is_object() {
            return Err(self.undecodable(version, kind, "json: cannot unmarshal into Go value"));
        }
        let expected = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        let found_kind = meta::text(&object, &["kind"]);
        if !found_kind.is_empty() && found_kind != kind {
            let found = meta::text(&object, &["apiVersion"]);
            let found = if found.is_empty() {
                expected.as_str()
            } else {
                found
            };
            let (found_group, found_version) = types::split_api_version(found);
            let why = if table()
                .schema_of_kind(found_group, found_version, found_kind)
                .is_some()
            {
                format!(
                    "converting (v1.{found_kind}) to ({}.{kind}): unknown conversion",
                    if group.is_empty() { "core" } else { group }
                )
            } else {
                unregistered(found_kind, found)
            };
            return Err(Error::bad_request(format!(
                "{found_kind} in version {found_version:?} cannot be handled as a {kind}: {why}"
            )));
        }
        let found = meta::text(&object, &["apiVersion"]);
        if !found.is_empty() && found != expected {
            let (found_group, found_version) = types::split_api_version(found);
            if table()
                .schema_of_kind(found_group, found_version, kind)
                .is_none()
            {
                let why = unregistered(kind, found);
                return Err(self.undecodable(found_version, kind, &why));
            }
            return Err(Error::bad_request(format!(
                "the API version in the data ({found}) does not match the expected API version ({expected})"
            )));
        }
        object["apiVersion"] = json!(expected);
        object["kind"] = json!(kind);
        if !decoded.strict_errors.is_empty() {
            match validation {
                FieldValidation::Ignore => {}
                FieldValidation::Warn => self.warn(decoded.strict_errors),
                FieldValidation::Strict => {
                    return Err(Error::bad_request(format!(
                        "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
                        decoded.strict_errors.join(", ")
                    )));
                }
            }
        }
        Ok(object)
    }

    fn undecodable(&self, version: &str, kind: &str, why: &str) -> Error {
        let yaml = self.content_type == "application/yaml";
        let protobuf = self.content_type == "application/vnd.kubernetes.protobuf";
        if !yaml && !protobuf {
            let syntax = match syntax_error(&self.body) {
                Some(error) => Some(error),
                // Its kind and version are read first, into a struct without a name.
                None if why.contains("Go struct field .") => Some(why.to_owned()),
                None if self.body.trim_ascii_start().first() == Some(&b'{') => None,
                // The decoder says which kind of value it is instead of an object.
                None => Some(why.to_owned()),
            };
            if let Some(error) = syntax {
                return Error::bad_request(format!(
                    "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {error} ({})",
                    summary(&self.body)
                ));
            }
        }
        if !protobuf {
            return Error::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
            ));
        }
        Error::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {why} ({})",
            summary(&self.body)
        ))
    }

    /// An object in the requested version becomes one in the stored version, with defaults filled in.
    pub(crate) fn default_and_store(&self, mut object: Value) -> Value {
        let f = self.resource.facts;
        types::apply_defaults(table(), &f.group, &f.version, &f.kind, &mut object);
        let mut object = conversion::to_stored(&self.resource, object);
        if !self.resource.is_stored_version() {
            let f = self.resource.stored;
            types::apply_defaults(table(), &f.group, &f.version, &f.kind, &mut object);
        }
        object
    }

    /// Answers with one object.
    pub(crate) fn object(&self, code: u16, object: &Object) -> Reply {
        Reply::object(self, code, object)
    }
}

/// The words for a kind that no version has.
fn unregistered(kind: &str, api_version: &str) -> String {
    format!(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
    )
}

/// The start of a body, as `summarizeData` of the real server shows it.
fn summary(body: &[u8]) -> String {
    const MAX: usize = 30;
    let head = &body[..body.len().min(MAX)];
    let mut text = match head.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(head).into_owned(),
        Some(_) => head.iter().map(|b| format!("{b:02x}")).collect(),
    };
    if body.len() > MAX {
        text.push_str(" ...");
    }
    text
}
