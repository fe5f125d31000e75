//! From a request's body to an object of a schema: JSON, YAML and protobuf.
//!
//! What comes out has only the schema's fields, in their canonical spelling; what was unknown or
//! doubled is told beside it, in the words of the API server's strict decoder, for the caller to
//! refuse, warn of or ignore (`fieldValidation`).

mod check;
mod json;
mod protobuf;
mod scan;

use serde_json::Value;

use super::facts::split_api_version;
use super::schema::TypeTable;

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object; `apiVersion` and `kind` are kept as they were sent.
    pub object: Value,
    /// Findings of strict decoding: `unknown field "spec.typo"`, `duplicate field "spec.replicas"`.
    pub strict_errors: Vec<String>,
}

/// Why a body is no object of its schema. The texts are the API server's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The media type is none of JSON, YAML and protobuf.
    #[error(
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )]
    UnsupportedMediaType,
    /// The body does not parse; the text says where.
    #[error("{0}")]
    Syntax(String),
    /// A field has another type than its schema says.
    #[error("{0}")]
    Type(String),
    /// The body names no kind.
    #[error("Object 'Kind' is missing in '{0}'")]
    MissingKind(String),
    /// The body names no version.
    #[error("Object 'apiVersion' is missing in '{0}'")]
    MissingVersion(String),
    /// The body's kind is not served.
    #[error(
        "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/runtime/scheme.go:111\""
    )]
    UnknownKind {
        /// `group/version` of the body.
        api_version: String,
        /// Kind of the body.
        kind: String,
    },
}

/// Media type without its parameters, lower case; an empty one is JSON, as for the API server.
fn media_type(content_type: &str) -> String {
    content_type
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase()
}

/// Decodes a body as an object of `schema`, the OpenAPI model name; with an empty name the body's
/// own `apiVersion` and `kind` choose it.
///
/// Fields the schema does not know are recorded in [`Decoded::strict_errors`] and dropped.
///
/// # Errors
/// If the body does not parse or a field has a wrong type.
pub fn decode(
    table: &TypeTable,
    schema: &str,
    content_type: &str,
    body: &[u8],
) -> Result<Decoded, DecodeError> {
    let mut strict_errors = Vec::new();
    let mut object = match media_type(content_type).as_str() {
        "application/vnd.kubernetes.protobuf" => return protobuf::decode(table, schema, body),
        "application/yaml"
        | "application/x-yaml"
        | "text/yaml"
        | "application/apply-patch+yaml" => json::parse_yaml(body, &mut strict_errors)?,
        "" | "application/json" => json::parse(body, &mut strict_errors)?,
        other if other.ends_with("+json") => json::parse(body, &mut strict_errors)?,
        _ => return Err(DecodeError::UnsupportedMediaType),
    };
    let (api_version, kind) = sniff(&object)?;
    let schema = if schema.is_empty() {
        schema_of(table, api_version, kind, body)?
    } else {
        schema
    };
    strict_errors.extend(prune_and_check(table, schema, &mut object)?);
    json::in_order_of_appearance(body, &mut strict_errors);
    Ok(Decoded {
        object,
        strict_errors,
    })
}

/// `apiVersion` and `kind` as the body states them: the API server reads these two first, into a
/// nameless struct, and says so when it cannot.
fn sniff(object: &Value) -> Result<(&str, &str), DecodeError> {
    let Value::Object(members) = object else {
        return Err(DecodeError::Syntax(format!(
            "json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            check::value_kind(object)
        )));
    };
    let text = |key: &str| match members.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => Err(DecodeError::Syntax(format!(
            "json: cannot unmarshal {} into Go struct field .{key} of type string",
            check::value_kind(other)
        ))),
    };
    Ok((text("apiVersion")?, text("kind")?))
}

/// Reads only `apiVersion` and `kind` of a body, from any of the three formats. Either may be empty.
///
/// # Errors
/// If the body does not parse.
pub fn decode_meta(content_type: &str, body: &[u8]) -> Result<(String, String), DecodeError> {
    let object = match media_type(content_type).as_str() {
        "application/vnd.kubernetes.protobuf" => return protobuf::type_meta(body),
        "application/yaml"
        | "application/x-yaml"
        | "text/yaml"
        | "application/apply-patch+yaml" => json::parse_yaml(body, &mut Vec::new())?,
        _ => json::parse(body, &mut Vec::new())?,
    };
    let text = |key: &str| {
        object
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    Ok((text("apiVersion"), text("kind")))
}

fn schema_of<'t>(
    table: &'t TypeTable,
    api_version: &str,
    kind: &str,
    body: &[u8],
) -> Result<&'t str, DecodeError> {
    let excerpt = || String::from_utf8_lossy(body).trim_end().to_owned();
    if kind.is_empty() {
        return Err(DecodeError::MissingKind(excerpt()));
    }
    if api_version.is_empty() {
        return Err(DecodeError::MissingVersion(excerpt()));
    }
    let (group, version) = split_api_version(api_version);
    table
        .schema_of_kind(group, version, kind)
        .ok_or_else(|| DecodeError::UnknownKind {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        })
}

/// The same checks for an object that did not come as a body of its own, such as the result of a
/// patch: drops unknown fields and tells them, refuses wrong types, brings values to their canonical
/// spelling. Works in place.
///
/// # Errors
/// If a field has a wrong type.
pub fn prune_and_check(
    table: &TypeTable,
    schema: &str,
    object: &mut Value,
) -> Result<Vec<String>, DecodeError> {
    match table.type_of(schema) {
        Some(ty) => check::Checker::new(table).run(ty, object),
        None => Ok(Vec::new()),
    }
}

/// Why a body is no JSON, in the words of Go's `encoding/json`; `None` where Go finds no fault.
#[must_use]
pub fn json_syntax_error(body: &[u8]) -> Option<String> {
    scan::first_error(body)
}

#[cfg(test)]
mod tests;
