//! The OpenAPI v2 document, which kubectl still reads where v3 gives no answer: for manifests with a `List`
//! or with a kind that is not served, and for `explain --output=plaintext-openapiv2`.
//!
//! It is made from the same facts as v3. Clients ask for it as protobuf (gnostic's
//! `openapiv2/OpenAPIv2.proto`); only the messages that they read are written.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::descriptions::describe;
use super::facts::{ResourceFacts, api_version};
use super::schema::{TypeTable, reference};

/// Media type of the encoded document.
pub const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `GET /openapi/v2` as protobuf. Made once: it is the same for the life of the process.
#[must_use]
pub fn openapi_v2_document(table: &TypeTable) -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    DOCUMENT.get_or_init(|| document(table).0.into()).clone()
}

/// A protobuf message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(mut self, field: usize, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len());
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: usize, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: usize, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// `Any`, whose value is in its second field, as YAML; JSON is YAML.
    fn any(value: &Value) -> Self {
        Self::default().text(2, &value.to_string())
    }

    /// `NamedAny`.
    fn named(name: &str, value: &Value) -> Self {
        Self::default().text(1, name).message(2, &Self::any(value))
    }
}

fn document(table: &TypeTable) -> Message {
    let info = Message::default()
        .text(1, "Kubernetes")
        .text(2, table.kubernetes_version());
    let mut paths = Message::default();
    for resource in table.resources().iter().filter(|r| r.allows("patch")) {
        paths = paths.message(2, &path(resource));
    }
    let mut definitions = Message::default();
    for (name, facts) in table.schemas() {
        let mut openapi = facts.openapi().cloned().unwrap_or_else(|| json!({}));
        describe(name, &mut openapi);
        let named = Message::default()
            .text(1, name)
            .message(2, &schema(&openapi));
        definitions = definitions.message(1, &named);
    }
    Message::default()
        .text(1, "2.0")
        .message(2, &info)
        .message(8, &paths)
        .message(9, &definitions)
}

/// `NamedPathItem` of an object: what its PATCH is about, and that it takes `fieldValidation`.
fn path(resource: &ResourceFacts) -> Message {
    let query = Message::default()
        .text(2, "query")
        .text(4, "fieldValidation")
        .text(6, "string");
    let mut parameter = query;
    // QueryParameterSubSchema, NonBodyParameter, Parameter, ParametersItem.
    for field in [3, 2, 1] {
        parameter = Message::default().message(field, &parameter);
    }
    let gvk = json!({
        "group": resource.group, "version": resource.version, "kind": resource.kind,
    });
    let patch = Message::default()
        .message(8, &parameter)
        .message(13, &Message::named("x-kubernetes-group-version-kind", &gvk));
    let root = match resource.group.as_str() {
        "" => "/api/",
        _ => "/apis/",
    };
    let scope = match resource.namespaced {
        true => "/namespaces/{namespace}",
        false => "",
    };
    let version = api_version(&resource.group, &resource.version);
    let name = format!("{root}{version}{scope}/{}/{{name}}", resource.name);
    Message::default()
        .text(1, &name)
        .message(2, &Message::default().message(8, &patch))
}

/// A v3 schema object as the v2 message `Schema`.
fn schema(v3: &Value) -> Message {
    let empty = Map::new();
    let members = v3.as_object().unwrap_or(&empty);
    let text = |key: &str| members.get(key).and_then(Value::as_str).unwrap_or("");
    let mut out = Message::default();
    if let Some(target) = reference(v3) {
        out = out.text(1, &format!("#/definitions/{target}"));
        if !text("description").is_empty() {
            out = out.text(4, text("description"));
        }
        return extensions(out, members);
    }
    // What v3 states as one of several types is a text in v2.
    let kind = match (text("type"), members.contains_key("oneOf")) {
        ("", true) => "string",
        (kind, _) => kind,
    };
    for (field, value) in [(2, text("format")), (4, text("description"))] {
        if !value.is_empty() {
            out = out.text(field, value);
        }
    }
    if let Some(default) = members.get("default") {
        out = out.message(5, &Message::any(default));
    }
    for required in members
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        out = out.text(19, required.as_str().unwrap_or(""));
    }
    for value in members
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        out = out.message(20, &Message::any(value));
    }
    if let Some(of @ Value::Object(_)) = members.get("additionalProperties") {
        let item = Message::default().message(1, &schema(of));
        out = out.message(21, &item);
    }
    if !kind.is_empty() {
        out = out.message(22, &Message::default().text(1, kind));
    }
    if let Some(items) = members.get("items") {
        out = out.message(23, &Message::default().message(1, &schema(items)));
    }
    if let Some(Value::Object(properties)) = members.get("properties") {
        let mut all = Message::default();
        for (name, property) in properties {
            let named = Message::default()
                .text(1, name)
                .message(2, &schema(property));
            all = all.message(1, &named);
        }
        out = out.message(25, &all);
    }
    extensions(out, members)
}

fn extensions(mut out: Message, members: &Map<String, Value>) -> Message {
    for (name, value) in members.iter().filter(|(name, _)| name.starts_with("x-")) {
        out = out.message(31, &Message::named(name, value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_as_protobuf() {
        let long = "x".repeat(200);
        let message = Message::default().text(1, "ab").text(31, &long);
        assert_eq!(&message.0[..4], b"\x0a\x02ab");
        // Field 31 as a two-byte tag, 200 as a two-byte length.
        assert_eq!(&message.0[4..8], b"\xfa\x01\xc8\x01");
        assert_eq!(message.0.len(), 8 + 200);
    }

    #[test]
    fn the_document_names_kinds_and_their_fields() {
        let document = openapi_v2_document(crate::sandbox::types::table());
        let holds = |text: &str| document.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(holds("#/definitions/io.k8s.api.core.v1.PodSpec"));
        assert!(holds(
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        ));
        assert!(holds(
            "ConfigMap holds configuration data for pods to consume."
        ));
    }
}
