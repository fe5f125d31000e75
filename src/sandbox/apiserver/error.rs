//! Failures as the real server words them: every error of this module is one `metav1.Status`.
//!
//! Texts and shapes follow `k8s.io/apimachinery/pkg/api/errors/errors.go`.

use serde_json::{Map, Value, json};

use super::field::FieldError;

/// A refused request: HTTP code, machine-readable reason, message and details.
///
/// Boxed, because it travels in every `Result` of the server.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Failure>);

#[derive(Debug)]
struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    /// `None`: the Status has no `details` at all.
    details: Option<Map<String, Value>>,
    /// Where a list whose token has expired may be continued all the same.
    resume: Option<String>,
}

/// Group and plural name of a resource, as messages print it (`deployments.apps`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupResource<'a> {
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
}

impl std::fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

fn details(group: &str, kind: &str, name: &str) -> Map<String, Value> {
    let mut map = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            map.insert(key.to_owned(), Value::String(value.to_owned()));
        }
    }
    map
}

impl Error {
    fn new(
        code: u16,
        reason: &'static str,
        message: String,
        details: Option<Map<String, Value>>,
    ) -> Self {
        Self(Box::new(Failure {
            code,
            reason,
            message,
            details,
            resume: None,
        }))
    }

    fn on(code: u16, reason: &'static str, gr: GroupResource<'_>, name: &str, m: String) -> Self {
        Self::new(code, reason, m, Some(details(gr.group, gr.resource, name)))
    }

    /// HTTP status code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.0.code
    }

    pub(crate) fn not_found(gr: GroupResource<'_>, name: &str) -> Self {
        Self::on(
            404,
            "NotFound",
            gr,
            name,
            format!("{gr} {name:?} not found"),
        )
    }

    pub(crate) fn already_exists(gr: GroupResource<'_>, name: &str) -> Self {
        Self::on(
            409,
            "AlreadyExists",
            gr,
            name,
            format!("{gr} {name:?} already exists"),
        )
    }

    /// The name is taken by an object that is on its way out.
    pub(crate) fn being_deleted(gr: GroupResource<'_>, name: &str) -> Self {
        let message = format!("object is being deleted: {gr} {name:?} already exists");
        Self::on(409, "AlreadyExists", gr, name, message)
    }

    pub(crate) fn generate_name_conflict(gr: GroupResource<'_>, name: &str) -> Self {
        let message = format!(
            "{gr} {name:?} already exists, the server was not able to generate a unique name for the object"
        );
        let mut error = Self::on(409, "AlreadyExists", gr, name, message);
        error.set("retryAfterSeconds", json!(1));
        error
    }

    pub(crate) fn conflict(gr: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {gr} {name:?}: {why}");
        Self::on(409, "Conflict", gr, name, message)
    }

    /// The object is not the one that was read.
    pub(crate) fn modified(gr: GroupResource<'_>, name: &str) -> Self {
        Self::conflict(
            gr,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// Server-side apply met fields of other managers; `conflicts` are (message, field).
    pub(crate) fn apply_conflict(message: String, conflicts: Vec<(String, String)>) -> Self {
        let causes: Vec<Value> = conflicts
            .into_iter()
            .map(|(message, field)| {
                json!({"reason": "FieldManagerConflict", "message": message, "field": field})
            })
            .collect();
        let mut map = Map::new();
        map.insert("causes".to_owned(), Value::Array(causes));
        Self::new(409, "Conflict", message, Some(map))
    }

    pub(crate) fn forbidden(gr: GroupResource<'_>, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{gr} is forbidden: {why}")
        } else {
            format!("{gr} {name:?} is forbidden: {why}")
        };
        Self::on(403, "Forbidden", gr, name, message)
    }

    /// Adds a cause to the details.
    pub(crate) fn with_cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        let mut cause = Map::new();
        for (key, value) in [("reason", reason), ("message", message), ("field", field)] {
            if !value.is_empty() {
                cause.insert(key.to_owned(), Value::String(value.to_owned()));
            }
        }
        let details = self.0.details.get_or_insert_with(Map::new);
        match details.get_mut("causes") {
            Some(Value::Array(causes)) => causes.push(Value::Object(cause)),
            _ => {
                details.insert("causes".to_owned(), json!([cause]));
            }
        }
        self
    }

    fn set(&mut self, key: &str, value: Value) {
        self.0
            .details
            .get_or_insert_with(Map::new)
            .insert(key.to_owned(), value);
    }

    pub(crate) fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let mut message = format!("{qualified} {name:?} is invalid");
        // Like field.ErrorList.ToAggregate: equal messages are said once, several are bracketed.
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        match texts.as_slice() {
            [] => {}
            [only] => message = format!("{message}: {only}"),
            many => message = format!("{message}: [{}]", many.join(", ")),
        }
        let mut map = details(group, kind, name);
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.reason(), "message": e.body(), "field": e.field}))
            .collect();
        if !causes.is_empty() {
            map.insert("causes".to_owned(), Value::Array(causes));
        }
        Self::new(422, "Invalid", message, Some(map))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into(), None)
    }

    /// A failed `test` and any other unappliable JSON patch: the real server says no more than this.
    pub(crate) fn unprocessable() -> Self {
        Self::new(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request".to_owned(),
            Some(Map::new()),
        )
    }

    /// No such resource, version or group.
    pub(crate) fn unknown_resource() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource".to_owned(),
            Some(Map::new()),
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource".to_owned(),
            Some(Map::new()),
        )
    }

    pub(crate) fn not_acceptable() -> Self {
        Self::new(
            406,
            "NotAcceptable",
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf".to_owned(),
            Some(Map::new()),
        )
    }

    /// The object cannot be had as the kind that was asked for.
    pub(crate) fn not_transformable() -> Self {
        let message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Self::new(406, "NotAcceptable", message.to_owned(), None)
    }

    /// The body of an object is none of the encodings the server reads.
    pub(crate) fn unknown_format() -> Self {
        let message = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        Self::new(415, "UnsupportedMediaType", message.to_owned(), None)
    }

    /// No such kind of patch.
    pub(crate) fn unsupported_media_type() -> Self {
        let message = "415: Unsupported Media Type".to_owned();
        Self::new(415, "UnsupportedMediaType", message, Some(Map::new()))
    }

    pub(crate) fn too_large(why: &str) -> Self {
        let message = format!("Request entity too large: {why}");
        Self::new(413, "RequestEntityTooLarge", message, None)
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message.into(), None)
    }

    /// Offers a token with which the rest of a list can be had, if not consistently.
    pub(crate) fn with_continue(mut self, token: String) -> Self {
        self.0.resume = Some(token);
        self
    }

    pub(crate) fn too_many_requests(message: &str, retry_after_seconds: u32) -> Self {
        let mut map = Map::new();
        if retry_after_seconds > 0 {
            map.insert("retryAfterSeconds".to_owned(), json!(retry_after_seconds));
        }
        Self::new(429, "TooManyRequests", message.to_owned(), Some(map))
    }

    /// The asked resourceVersion lies in the future.
    pub(crate) fn too_large_resource_version(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut error = Self::new(504, "Timeout", message, None).with_cause(
            "ResourceVersionTooLarge",
            "Too large resource version",
            "",
        );
        error.set("retryAfterSeconds", json!(1));
        error
    }

    /// The sandbox has no processes to log, run or reach.
    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(
            501,
            "NotImplemented",
            format!("the sandbox does not serve {what:?}"),
            None,
        )
    }

    /// An error without a reason of its own, such as the one for two budgets on one pod.
    pub(crate) fn bare(code: u16, message: &str) -> Self {
        Self::new(code, "", message.to_owned(), None)
    }

    /// Seconds after which the client should try again, for the `Retry-After` header.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.0.details.as_ref()?.get("retryAfterSeconds")?.as_u64()
    }

    /// The `metav1.Status` that is the body of the answer.
    #[must_use]
    pub fn status(&self) -> Value {
        let failure = &self.0;
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": failure.message, "code": failure.code,
        });
        if !failure.reason.is_empty() {
            status["reason"] = json!(failure.reason);
        }
        if let Some(token) = &failure.resume {
            status["metadata"] = json!({"continue": token});
        }
        if let Some(details) = &failure.details {
            status["details"] = Value::Object(details.clone());
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENTS: GroupResource<'static> = GroupResource {
        group: "apps",
        resource: "deployments",
    };

    #[test]
    fn texts_are_those_of_the_real_server() {
        let status = Error::not_found(DEPLOYMENTS, "web").status();
        assert_eq!(status["message"], "deployments.apps \"web\" not found");
        assert_eq!(
            status["details"],
            json!({"name": "web", "group": "apps", "kind": "deployments"})
        );
        let error = Error::invalid(
            "apps",
            "Deployment",
            "web",
            &[
                FieldError::required("spec.selector", ""),
                FieldError::duplicate("a[1]", "x"),
            ],
        );
        assert_eq!(
            error.to_string(),
            "Deployment.apps \"web\" is invalid: [spec.selector: Required value, a[1]: Duplicate value: \"x\"]"
        );
        assert_eq!(
            error.status()["details"]["causes"][0]["reason"],
            "FieldValueRequired"
        );
    }
}
