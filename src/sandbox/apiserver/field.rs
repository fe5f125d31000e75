//! One fault of one field, in the words of `k8s.io/apimachinery/pkg/util/validation/field`.

use serde_json::Value;

/// What is wrong with a field.
#[derive(Clone, Debug)]
enum Fault {
    Required,
    Invalid(Value),
    NotSupported(Value, Vec<String>),
    Duplicate(String),
    Forbidden,
    NotFound(String),
    TooLong(usize),
}

/// A field that makes an object invalid.
#[derive(Clone, Debug)]
pub(crate) struct FieldError {
    /// Path of the field, `spec.containers[0].name`.
    pub(crate) field: String,
    fault: Fault,
    detail: String,
}

impl FieldError {
    fn new(field: impl Into<String>, fault: Fault, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            fault,
            detail: detail.into(),
        }
    }

    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new(field, Fault::Required, detail)
    }

    pub(crate) fn invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(field, Fault::Invalid(value.into()), detail)
    }

    pub(crate) fn not_supported(
        field: impl Into<String>,
        value: impl Into<Value>,
        supported: &[&str],
    ) -> Self {
        let supported = supported.iter().map(|s| format!("{s:?}")).collect();
        Self::new(field, Fault::NotSupported(value.into(), supported), "")
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &str) -> Self {
        Self::new(field, Fault::Duplicate(value.to_owned()), "")
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, Fault::Forbidden, detail)
    }

    pub(crate) fn not_found(field: impl Into<String>, value: &str) -> Self {
        Self::new(field, Fault::NotFound(value.to_owned()), "")
    }

    pub(crate) fn too_long(field: impl Into<String>, max: usize) -> Self {
        Self::new(field, Fault::TooLong(max), "")
    }

    /// The cause's reason.
    pub(crate) fn reason(&self) -> &'static str {
        match self.fault {
            Fault::Required => "FieldValueRequired",
            Fault::Invalid(_) => "FieldValueInvalid",
            Fault::NotSupported(..) => "FieldValueNotSupported",
            Fault::Duplicate(_) => "FieldValueDuplicate",
            Fault::Forbidden => "FieldValueForbidden",
            Fault::NotFound(_) => "FieldValueNotFound",
            Fault::TooLong(_) => "FieldValueTooLong",
        }
    }

    /// The message without the field.
    pub(crate) fn body(&self) -> String {
        let mut text = match &self.fault {
            Fault::Required => "Required value".to_owned(),
            Fault::Invalid(value) => format!("Invalid value: {}", shown(value)),
            Fault::NotSupported(value, supported) => {
                return format!(
                    "Unsupported value: {}: supported values: {}",
                    shown(value),
                    supported.join(", ")
                );
            }
            Fault::Duplicate(value) => format!("Duplicate value: {value:?}"),
            Fault::Forbidden => "Forbidden".to_owned(),
            Fault::NotFound(value) => format!("Not found: {value:?}"),
            Fault::TooLong(max) => return format!("Too long: may not be more than {max} bytes"),
        };
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}
