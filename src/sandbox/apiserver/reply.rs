//! Answers.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::accept::Accept;
use super::call::Call;
use super::conversion;
use super::error::Error;
use super::registry::Resource;
use super::store::Object;
use super::store::object::{body, with_type_meta};
use crate::sandbox::types::{IncludeObject, render_table};

/// An answer, ready to be sent.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Body,
}

/// Content type of everything but discovery.
pub(crate) const JSON: &str = "application/json";

impl Reply {
    pub(crate) fn bytes(code: u16, content_type: &'static str, bytes: Bytes) -> Self {
        Self {
            code,
            content_type,
            body: Body::from(bytes),
        }
    }

    pub(crate) fn json(code: u16, value: &Value) -> Self {
        Self::bytes(code, JSON, Bytes::from(value.to_string()))
    }

    pub(crate) fn text(code: u16, text: &'static str) -> Self {
        Self::bytes(
            code,
            "text/plain; charset=utf-8",
            Bytes::from_static(text.as_bytes()),
        )
    }

    /// A `Status` that says it went well.
    pub(crate) fn success(code: u16, details: Option<Value>) -> Self {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        });
        match details {
            Some(details) => status["details"] = details,
            None => status["code"] = json!(code),
        }
        Self::json(code, &status)
    }

    /// One object in the representation and version the client asked for.
    pub(crate) fn object(call: &Call, code: u16, object: &Object) -> Self {
        let bytes = match call.accept {
            Accept::Table => {
                let list_meta = json!({"resourceVersion": object.revision.to_string()});
                let value = view(&call.resource, object);
                Bytes::from(tabled(call, &[value], &list_meta, true).to_string())
            }
            Accept::Metadata => Bytes::from(partial(&object.value, true).to_string()),
            Accept::Object | Accept::Discovery { .. } => {
                let mut out = Vec::new();
                with_type_meta(
                    &mut out,
                    &call.resource.type_meta,
                    &view_body(&call.resource, object),
                );
                Bytes::from(out)
            }
        };
        Self::bytes(code, JSON, bytes)
    }

    /// An object that is not stored itself, such as a Scale.
    pub(crate) fn derived(call: &Call, code: u16, value: Value) -> Self {
        match call.accept {
            Accept::Table => {
                let list_meta = json!({
                    "resourceVersion": value.pointer("/metadata/resourceVersion"),
                });
                Self::json(code, &tabled(call, &[value], &list_meta, true))
            }
            Accept::Metadata => Self::json(code, &partial(&value, true)),
            Accept::Object | Accept::Discovery { .. } => Self::json(code, &value),
        }
    }

    pub(crate) fn error(error: &Error) -> Self {
        Self::json(error.code(), &error.status())
    }

    pub(crate) fn into_response(
        self,
        warnings: &[String],
        retry_after: Option<u64>,
    ) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() =
            StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(self.content_type),
        );
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, private"),
        );
        for warning in warnings {
            // Header values are visible ASCII; quotes and backslashes are escaped as RFC 7234 asks.
            let text: String = warning.chars().filter(|c| !c.is_control()).collect();
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
                headers.append(header::WARNING, value);
            }
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The object in the requested version.
pub(crate) fn view(resource: &Resource, object: &Object) -> Value {
    conversion::from_stored(resource, &object.value)
}

/// JSON of the object in the requested version, without `apiVersion` and `kind`.
pub(crate) fn view_body(resource: &Resource, object: &Object) -> Bytes {
    if resource.is_stored_version() {
        object.body().clone()
    } else {
        body(&conversion::from_stored(resource, &object.value))
    }
}

/// `PartialObjectMetadata` of an object; `typed`: with its own apiVersion and kind in front.
pub(crate) fn partial(object: &Value, typed: bool) -> Value {
    let mut map = Map::new();
    if typed {
        map.insert("kind".to_owned(), json!("PartialObjectMetadata"));
        map.insert("apiVersion".to_owned(), json!("meta.k8s.io/v1"));
    }
    map.insert(
        "metadata".to_owned(),
        object.get("metadata").cloned().unwrap_or_default(),
    );
    Value::Object(map)
}

/// A Table of objects, with as much of each object in its row as the client asked for.
pub(crate) fn tabled(call: &Call, objects: &[Value], list_meta: &Value, headers: bool) -> Value {
    let include = match call.query.get("includeObject") {
        "None" => IncludeObject::None,
        "Object" => IncludeObject::Object,
        _ => IncludeObject::Metadata,
    };
    let facts = call.resource.facts;
    // A subresource's body may be of another kind.
    let kind = match facts.subresource(&call.path.subresource) {
        Some(sub) => (sub.group.as_str(), sub.kind.as_str()),
        None => (facts.group.as_str(), facts.kind.as_str()),
    };
    render_table(kind, objects, list_meta, include, headers, call.now)
}
