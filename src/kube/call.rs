//! One request to the API server, as data: verb, path, body, and when it may be repeated.

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::retry::Repeat;

/// The content type of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    /// An object.
    Json,
    /// RFC 6902.
    JsonPatch,
    /// RFC 7386.
    MergePatch,
    /// Lists merge by their keys.
    StrategicMergePatch,
}

impl ContentType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonPatch => "application/json-patch+json",
            Self::MergePatch => "application/merge-patch+json",
            Self::StrategicMergePatch => "application/strategic-merge-patch+json",
        }
    }
}

/// A request, ready to be sent any number of times.
#[derive(Debug, Clone)]
pub struct Call {
    pub(crate) verb: &'static str,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Option<(ContentType, Bytes)>,
    pub(crate) repeat: Repeat,
}

impl Call {
    /// A read.
    #[must_use]
    pub fn get(path: String) -> Self {
        Self {
            verb: "get",
            method: Method::GET,
            path,
            body: None,
            repeat: Repeat::Safe,
        }
    }

    /// A read of a collection.
    #[must_use]
    pub fn list(path: String) -> Self {
        Self {
            verb: "list",
            ..Self::get(path)
        }
    }

    /// A POST.
    #[must_use]
    pub fn create(path: String, body: &Value) -> Self {
        Self::with_body("create", Method::POST, path, ContentType::Json, body)
    }

    /// A PUT.
    #[must_use]
    pub fn update(path: String, body: &Value) -> Self {
        Self::with_body("update", Method::PUT, path, ContentType::Json, body)
    }

    /// A PATCH.
    #[must_use]
    pub fn patch(path: String, kind: ContentType, body: &Value) -> Self {
        Self::with_body("patch", Method::PATCH, path, kind, body)
    }

    /// A DELETE with its options.
    #[must_use]
    pub fn delete(path: String, options: &Value) -> Self {
        Self::with_body("delete", Method::DELETE, path, ContentType::Json, options)
    }

    fn with_body(
        verb: &'static str,
        method: Method,
        path: String,
        kind: ContentType,
        body: &Value,
    ) -> Self {
        Self {
            verb,
            method,
            path,
            body: Some((kind, Bytes::from(body.to_string()))),
            repeat: Repeat::IfNotDone,
        }
    }

    /// The name in the metrics.
    #[must_use]
    pub fn named(self, verb: &'static str) -> Self {
        Self { verb, ..self }
    }

    /// When it may be repeated.
    #[must_use]
    pub fn repeated(self, repeat: Repeat) -> Self {
        Self { repeat, ..self }
    }
}

/// Joins segments to a path, each percent-encoded: a name out of a caller's request cannot leave its place.
#[must_use]
pub fn path(segments: &[&str]) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        encode(segment, &mut path);
    }
    path
}

/// Percent-encodes a segment or a query value.
pub fn encode(text: &str, into: &mut String) {
    // A segment of dots alone would be resolved by proxies; names may hold dots otherwise.
    let dots = !text.is_empty() && text.bytes().all(|b| b == b'.');
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
        if plain || (byte == b'.' && !dots) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_segment() {
        assert_eq!(
            path(&["api", "v1", "namespaces", "a/../b", "pods", "..", "web-1.x"]),
            "/api/v1/namespaces/a%2F..%2Fb/pods/%2E%2E/web-1.x"
        );
    }
}
