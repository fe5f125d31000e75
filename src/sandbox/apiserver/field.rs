//! One fault of one field, in the words of `k8s.io/apimachinery/pkg/util/validation/field`.

use serde_json::Value;

/// What is wrong with a field.
#[derive(Clone, Debug)]
enum Fault {
    Required,
    Invalid(Value),
    /// The value as it is to be shown.
    InvalidShown(String),
    /// The value as it is to be shown, and what would be taken.
    NotSupported(String, Vec<String>),
    Duplicate(String),
    /// The value as it is to be shown.
    DuplicateShown(String),
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

    /// An invalid value that is shown as it is: where the order of its fields matters.
    pub(crate) fn invalid_shown(
        field: impl Into<String>,
        shown: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(field, Fault::InvalidShown(shown.into()), detail)
    }

    pub(crate) fn not_supported(
        field: impl Into<String>,
        value: impl Into<Value>,
        supported: &[&str],
    ) -> Self {
        let supported = supported.iter().map(|s| format!("{s:?}")).collect();
        Self::new(
            field,
            Fault::NotSupported(shown(&value.into()), supported),
            "",
        )
    }

    /// The same for a value that is shown as it is: where the order of its fields matters.
    pub(crate) fn not_supported_shown(
        field: impl Into<String>,
        shown: String,
        supported: &[&str],
    ) -> Self {
        let supported = supported.iter().map(|s| format!("{s:?}")).collect();
        Self::new(field, Fault::NotSupported(shown, supported), "")
    }

    /// A duplicate that is no plain text, and what must be unique.
    pub(crate) fn duplicate_shown(field: impl Into<String>, shown: String, detail: &str) -> Self {
        Self::new(field, Fault::DuplicateShown(shown), detail)
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
            Fault::Invalid(_) | Fault::InvalidShown(_) => "FieldValueInvalid",
            Fault::NotSupported(..) => "FieldValueNotSupported",
            Fault::Duplicate(_) | Fault::DuplicateShown(_) => "FieldValueDuplicate",
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
            Fault::InvalidShown(shown) => format!("Invalid value: {shown}"),
            Fault::NotSupported(value, supported) => {
                return format!(
                    "Unsupported value: {}: supported values: {}",
                    value,
                    supported.join(", ")
                );
            }
            Fault::Duplicate(value) => format!("Duplicate value: {value:?}"),
            Fault::DuplicateShown(shown) => format!("Duplicate value: {shown}"),
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
        Value::String(text) => go_quoted(text),
        other => other.to_string(),
    }
}

/// A string as Go's `%q` prints it.
pub(crate) fn go_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() && u32::from(c) < 0x80 => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}
