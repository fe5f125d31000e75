//! Holds an object against its schema, in place: unknown fields go, wrong types are refused, values
//! get their canonical spelling, and what Go would not write (nulls, zero values under `omitempty`)
//! is not kept.

use base64::Engine as _;
use serde_json::{Map, Value};

use super::DecodeError;
use super::json::Path;
use crate::sandbox::types::convert;
use crate::sandbox::types::quantity;
use crate::sandbox::types::schema::{Field, ObjectType, Type, TypeTable};

/// Go's name for a JSON value's kind.
pub(super) fn value_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether Go's `omitempty` drops this value of a field that is no pointer and no struct.
pub(super) fn omitted(ty: &Type, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_i64() == Some(0) || n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty() && matches!(ty, Type::Map { .. }),
    }
}

pub(super) struct Checker<'t> {
    table: &'t TypeTable,
    strict: Vec<String>,
}

/// Where a value stands in Go's types: the struct around it, and its field there.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path<'a>,
    owner: Option<&'a ObjectType>,
    field: Option<&'a Field>,
}

impl<'t> Checker<'t> {
    pub(super) fn new(table: &'t TypeTable) -> Self {
        Self {
            table,
            strict: Vec::new(),
        }
    }

    pub(super) fn run(mut self, ty: &Type, object: &mut Value) -> Result<Vec<String>, DecodeError> {
        let place = Place {
            path: &Path::Root,
            owner: None,
            field: None,
        };
        self.value(ty, object, place)?;
        Ok(self.strict)
    }

    fn value(&mut self, ty: &Type, value: &mut Value, place: Place<'_>) -> Result<(), DecodeError> {
        match (ty, &mut *value) {
            (Type::Any, _) | (Type::Bool, Value::Bool(_)) | (Type::String, Value::String(_)) => {
                Ok(())
            }
            (Type::Object(object), Value::Object(members)) => self.members(object, members, place),
            (Type::Map { value: of, .. }, Value::Object(members)) => {
                let of = self.table.ty(*of);
                self.entries(of, members, place)
            }
            (Type::List { item, .. }, Value::Array(items)) => {
                let item = self.table.ty(*item);
                for (at, value) in items.iter_mut().enumerate() {
                    if value.is_null() {
                        *value = zero(item);
                        continue;
                    }
                    let path = Path::Index(place.path, at);
                    self.value(
                        item,
                        value,
                        Place {
                            path: &path,
                            field: None,
                            ..place
                        },
                    )?;
                }
                Ok(())
            }
            (Type::Int32, Value::Number(n)) => match n.as_i64() {
                Some(n) if i32::try_from(n).is_ok() => Ok(()),
                _ => Err(self.wrong_type(ty, value, place)),
            },
            (Type::Int64, Value::Number(n)) if n.is_i64() => Ok(()),
            (Type::Float, Value::Number(_)) => Ok(()),
            (Type::Bytes, Value::String(text)) => check_base64(text),
            (Type::IntOrString, Value::String(_)) => Ok(()),
            (Type::IntOrString, Value::Number(n))
                if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(())
            }
            (Type::IntOrString, _) => Err(self.wrong_type(&Type::Int32, value, place)),
            (Type::Quantity, other) => quantity(other),
            (Type::Time | Type::MicroTime, Value::String(text)) => {
                match convert::canonical_time(text, matches!(ty, Type::MicroTime)) {
                    Ok(None) => Ok(()),
                    Ok(Some(canonical)) => {
                        *text = canonical;
                        Ok(())
                    }
                    Err(error) => Err(DecodeError::Type(error)),
                }
            }
            (Type::Duration, Value::String(_)) => Ok(()),
            (Type::Time | Type::MicroTime | Type::Duration, _) => {
                Err(self.wrong_type(&Type::String, value, place))
            }
            _ => Err(self.wrong_type(ty, value, place)),
        }
    }

    fn members(
        &mut self,
        object: &ObjectType,
        members: &mut Map<String, Value>,
        place: Place<'_>,
    ) -> Result<(), DecodeError> {
        let mut failed = None;
        members.retain(|key, value| {
            if failed.is_some() {
                return true;
            }
            let path = Path::Key(place.path, key);
            let Some(field) = object.fields.get(key.as_str()) else {
                self.strict.push(format!("unknown field \"{path}\""));
                return false;
            };
            if value.is_null() {
                return false;
            }
            let ty = self.table.ty(field.ty);
            let inner = Place {
                path: &path,
                owner: Some(object),
                field: Some(field),
            };
            if let Err(error) = self.value(ty, value, inner) {
                failed = Some(error);
                return true;
            }
            let empty_time = matches!(ty, Type::Time | Type::MicroTime)
                && value.as_str().is_some_and(str::is_empty);
            !(empty_time || field.omit_zero && omitted(ty, value))
        });
        failed.map_or(Ok(()), Err)
    }

    fn entries(
        &mut self,
        of: &Type,
        members: &mut Map<String, Value>,
        place: Place<'_>,
    ) -> Result<(), DecodeError> {
        for (key, value) in members.iter_mut() {
            if value.is_null() {
                *value = zero(of);
                continue;
            }
            let path = Path::Entry(place.path, key);
            self.value(
                of,
                value,
                Place {
                    path: &path,
                    field: None,
                    ..place
                },
            )?;
        }
        Ok(())
    }

    fn wrong_type(&self, ty: &Type, value: &Value, place: Place<'_>) -> DecodeError {
        let go = match place.field.and_then(|f| f.go_type.as_deref()) {
            Some(name) => name.to_owned(),
            None => self.go_type(ty),
        };
        let given = match (ty, value) {
            (Type::Int32 | Type::Int64, Value::Number(n)) => format!("number {n}"),
            _ => value_kind(value).to_owned(),
        };
        DecodeError::Type(match place.owner {
            Some(owner) => format!(
                "json: cannot unmarshal {given} into Go struct field {}.{} of type {go}",
                owner.go_name(),
                place.path.fields()
            ),
            None => format!("json: cannot unmarshal {given} into Go value of type {go}"),
        })
    }

    fn go_type(&self, ty: &Type) -> String {
        match ty {
            Type::Object(object) => object.go_type.to_string(),
            // The one map type that has a name of its own.
            Type::Map { value, .. } if matches!(self.table.ty(*value), Type::Quantity) => {
                "v1.ResourceList".to_owned()
            }
            Type::Map { value, .. } => {
                format!("map[string]{}", self.go_type(self.table.ty(*value)))
            }
            Type::List { item, .. } => format!("[]{}", self.go_type(self.table.ty(*item))),
            Type::String => "string".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Int32 => "int32".to_owned(),
            Type::Int64 => "int64".to_owned(),
            Type::Float => "float64".to_owned(),
            Type::Bytes => "[]uint8".to_owned(),
            Type::IntOrString => "intstr.IntOrString".to_owned(),
            Type::Quantity => "resource.Quantity".to_owned(),
            Type::Time => "v1.Time".to_owned(),
            Type::MicroTime => "v1.MicroTime".to_owned(),
            Type::Duration => "v1.Duration".to_owned(),
            Type::Any => "interface {}".to_owned(),
        }
    }
}

/// What Go has where JSON said null inside a list or a map.
fn zero(ty: &Type) -> Value {
    match ty {
        Type::String | Type::Bytes => Value::String(String::new()),
        Type::Bool => Value::Bool(false),
        Type::Int32 | Type::Int64 | Type::Float | Type::IntOrString => Value::from(0),
        Type::Quantity => Value::String("0".to_owned()),
        Type::Object(_) => Value::Object(Map::new()),
        _ => Value::Null,
    }
}

fn quantity(value: &mut Value) -> Result<(), DecodeError> {
    let canonical = match &*value {
        Value::String(text) => quantity::canonical(text.trim()),
        Value::Number(number) => quantity::canonical(&number.to_string()),
        other => quantity::canonical(&other.to_string()),
    };
    let canonical = canonical.map_err(|e| DecodeError::Type(e.to_string()))?;
    match value {
        Value::String(text) if *text == canonical => {}
        other => *other = Value::String(canonical),
    }
    Ok(())
}

fn check_base64(text: &str) -> Result<(), DecodeError> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    let at = match decoded {
        Ok(_) => return Ok(()),
        Err(base64::DecodeError::InvalidByte(_, b'\r' | b'\n')) => {
            let joined: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
            return check_base64(&joined);
        }
        Err(base64::DecodeError::InvalidByte(at, _)) => at,
        Err(base64::DecodeError::InvalidLastSymbol { .. }) => return Ok(()),
        Err(_) => text.len(),
    };
    Err(DecodeError::Type(format!(
        "illegal base64 data at input byte {at}"
    )))
}
