//! Protobuf bodies, by the field numbers in the facts.
//!
//! A body is `k8s\0` and a `runtime.Unknown` (apimachinery/pkg/runtime/generated.proto) whose `raw` is
//! the object. Kubernetes' messages always carry the zero values of fields that are no pointers; those
//! that JSON would omit are left out here too. Unknown field numbers are skipped, as Go skips them.

use serde_json::{Map, Number, Value};

use super::{DecodeError, Decoded, json, prune_and_check, schema_of};
use crate::sandbox::types::convert;
use crate::sandbox::types::schema::{ProtoField, ProtoMessage, ProtoType, Type, TypeId, TypeTable};

const MAGIC: &[u8] = b"k8s\0";
/// No Kubernetes message nests deeper in earnest (JSONSchemaProps is the deepest).
const MAX_DEPTH: usize = 100;

/// Reads field by field; every read is bounds-checked.
struct Reader<'b>(&'b [u8]);

enum Wire<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'b [u8]),
}

fn broken(text: &str) -> DecodeError {
    DecodeError::Syntax(format!("proto: {text}"))
}

impl<'b> Reader<'b> {
    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for at in 0..10 {
            let Some((&byte, rest)) = self.0.split_first() else {
                return Err(DecodeError::Syntax("unexpected EOF".to_owned()));
            };
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(at * 7).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(broken("integer overflow"))
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], DecodeError> {
        match self.0.split_at_checked(count) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => Err(DecodeError::Syntax("unexpected EOF".to_owned())),
        }
    }

    /// The next field's number and content; `None` at the end.
    fn next(&mut self) -> Result<Option<(u32, Wire<'b>)>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| broken("illegal tag"))?;
        if number == 0 {
            return Err(broken("illegal tag 0"));
        }
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Wire::Fixed64(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| broken("bad length"))?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Wire::Fixed32(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
            }
            other => return Err(broken(&format!("illegal wireType {other}"))),
        };
        Ok(Some((number, wire)))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[derive(Default)]
struct Envelope<'b> {
    api_version: String,
    kind: String,
    raw: &'b [u8],
    content_type: String,
}

fn envelope(body: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    let Some(rest) = body.strip_prefix(MAGIC) else {
        return Err(DecodeError::Syntax(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
                .to_owned(),
        ));
    };
    let mut found = Envelope::default();
    let mut reader = Reader(rest);
    while let Some((number, wire)) = reader.next()? {
        let Wire::Bytes(bytes) = wire else { continue };
        match number {
            1 => {
                let mut meta = Reader(bytes);
                while let Some((number, wire)) = meta.next()? {
                    match (number, wire) {
                        (1, Wire::Bytes(bytes)) => found.api_version = text(bytes),
                        (2, Wire::Bytes(bytes)) => found.kind = text(bytes),
                        _ => {}
                    }
                }
            }
            2 => found.raw = bytes,
            4 => found.content_type = text(bytes),
            _ => {}
        }
    }
    Ok(found)
}

/// `apiVersion` and `kind` of a body.
pub(super) fn type_meta(body: &[u8]) -> Result<(String, String), DecodeError> {
    envelope(body).map(|e| (e.api_version, e.kind))
}

/// Decodes a whole body. The envelope's kind chooses the message: a body of another kind than the
/// endpoint's must be read as what it is, for the caller to refuse.
pub(super) fn decode(table: &TypeTable, schema: &str, body: &[u8]) -> Result<Decoded, DecodeError> {
    let envelope = envelope(body)?;
    let own = schema_of(table, &envelope.api_version, &envelope.kind, b"");
    let schema = match own {
        Ok(own) => own,
        Err(_) if !schema.is_empty() => schema,
        Err(error) => return Err(error),
    };
    if envelope.content_type == "application/json" {
        let mut strict_errors = Vec::new();
        let mut object = json::parse(envelope.raw, &mut strict_errors)?;
        strict_errors.extend(prune_and_check(table, schema, &mut object)?);
        return Ok(Decoded {
            object,
            strict_errors,
        });
    }
    let message = table
        .schema(schema)
        .and_then(|s| table.object(s.ty))
        .and_then(|o| o.proto.as_ref())
        .ok_or_else(|| DecodeError::Syntax(format!("object *{schema} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message")))?;
    let mut members = Map::new();
    Walker { table }.message(message, envelope.raw, &mut members, 0)?;
    if !envelope.api_version.is_empty() {
        members.insert("apiVersion".to_owned(), Value::String(envelope.api_version));
    }
    if !envelope.kind.is_empty() {
        members.insert("kind".to_owned(), Value::String(envelope.kind));
    }
    let mut object = Value::Object(members);
    let strict_errors = prune_and_check(table, schema, &mut object)?;
    Ok(Decoded {
        object,
        strict_errors,
    })
}

struct Walker<'t> {
    table: &'t TypeTable,
}

impl Walker<'_> {
    fn message(
        &self,
        message: &ProtoMessage,
        bytes: &[u8],
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        if depth > MAX_DEPTH {
            return Err(broken("exceeded max depth"));
        }
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.next()? {
            if let Some(field) = message.fields.get(&number) {
                self.field(field, wire, into, depth)?;
            }
        }
        Ok(())
    }

    fn field(
        &self,
        field: &ProtoField,
        wire: Wire<'_>,
        into: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        let json = &*field.json;
        match (&field.ty, wire) {
            (ProtoType::Message(id), Wire::Bytes(bytes)) if field.inline => {
                match self.table.object(*id).and_then(|o| o.proto.as_ref()) {
                    Some(message) => self.message(message, bytes, into, depth + 1),
                    None => Ok(()),
                }
            }
            (ProtoType::Map(of), Wire::Bytes(bytes)) => {
                let (key, value) = self.entry(of, bytes, depth)?;
                match into
                    .entry(json)
                    .or_insert_with(|| Value::Object(Map::new()))
                {
                    Value::Object(members) => members.insert(key, value),
                    other => Some(std::mem::replace(other, Value::Object(Map::new()))),
                };
                Ok(())
            }
            // Numbers may come packed.
            (ty, Wire::Bytes(bytes)) if field.repeated && is_number(ty) => {
                let mut packed = Reader(bytes);
                while !packed.0.is_empty() {
                    let wire = match ty {
                        ProtoType::Double => {
                            let bytes = packed.take(8)?;
                            Wire::Fixed64(u64::from_le_bytes(bytes.try_into().expect("eight")))
                        }
                        ProtoType::Float => {
                            let bytes = packed.take(4)?;
                            Wire::Fixed32(u32::from_le_bytes(bytes.try_into().expect("four")))
                        }
                        _ => Wire::Varint(packed.varint()?),
                    };
                    if let Some(value) = self.value(ty, wire, depth)? {
                        push(into, json, value);
                    }
                }
                Ok(())
            }
            (ty, wire) => {
                match self.value(ty, wire, depth)? {
                    Some(value) if field.repeated => push(into, json, value),
                    Some(value) if field.omit_zero && is_zero(&value) => {}
                    Some(value) => {
                        into.insert(json.to_owned(), value);
                    }
                    None => {}
                }
                Ok(())
            }
        }
    }

    fn entry(
        &self,
        of: &ProtoType,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(String, Value), DecodeError> {
        let mut key = String::new();
        let mut value = None;
        let mut reader = Reader(bytes);
        while let Some((number, wire)) = reader.next()? {
            match (number, wire) {
                (1, Wire::Bytes(bytes)) => key = text(bytes),
                (2, wire) => value = self.value(of, wire, depth)?,
                _ => {}
            }
        }
        let value = value.unwrap_or_else(|| match of {
            ProtoType::Message(_) | ProtoType::Map(_) => Value::Object(Map::new()),
            _ => Value::String(String::new()),
        });
        Ok((key, value))
    }

    /// One value; `None` where there is nothing to show (the zero time, an unknown type).
    fn value(
        &self,
        ty: &ProtoType,
        wire: Wire<'_>,
        depth: usize,
    ) -> Result<Option<Value>, DecodeError> {
        Ok(match (ty, wire) {
            (ProtoType::String, Wire::Bytes(bytes)) => Some(Value::String(text(bytes))),
            (ProtoType::Bool, Wire::Varint(n)) => Some(Value::Bool(n != 0)),
            // Protobuf's signed numbers are the low bits of the varint, by definition.
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
            (ProtoType::Int32, Wire::Varint(n)) => Some(Value::from(n as i32)),
            #[allow(clippy::cast_possible_wrap)]
            (ProtoType::Int64, Wire::Varint(n)) => Some(Value::from(n as i64)),
            (ProtoType::Double, Wire::Fixed64(bits)) => float(f64::from_bits(bits)),
            (ProtoType::Float, Wire::Fixed32(bits)) => float(f64::from(f32::from_bits(bits))),
            (ProtoType::Bytes, Wire::Bytes(bytes)) => {
                use base64::Engine as _;
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                Some(Value::String(text))
            }
            (ProtoType::Quantity, Wire::Bytes(bytes)) => {
                let text = first_text(bytes)?;
                Some(Value::String(if text.is_empty() {
                    "0".to_owned()
                } else {
                    text
                }))
            }
            (ProtoType::Time, Wire::Bytes(bytes)) => time(bytes, convert::time)?,
            (ProtoType::MicroTime, Wire::Bytes(bytes)) => time(bytes, convert::micro_time)?,
            (ProtoType::Duration, Wire::Bytes(bytes)) => {
                let mut nanos = 0_u64;
                let mut reader = Reader(bytes);
                while let Some((number, wire)) = reader.next()? {
                    if let (1, Wire::Varint(n)) = (number, wire) {
                        nanos = n;
                    }
                }
                // metav1.Duration prints as Go does; whole seconds are all that Kubernetes' types use.
                Some(Value::String(format!("{}s", nanos / 1_000_000_000)))
            }
            (ProtoType::IntOrString, Wire::Bytes(bytes)) => Some(int_or_string(bytes)?),
            (ProtoType::RawJson, Wire::Bytes(bytes)) => {
                let mut reader = Reader(bytes);
                let mut value = None;
                while let Some((number, wire)) = reader.next()? {
                    if let (1, Wire::Bytes(bytes)) = (number, wire)
                        && !bytes.is_empty()
                    {
                        value = Some(json::parse(bytes, &mut Vec::new())?);
                    }
                }
                value
            }
            (ProtoType::Message(id), Wire::Bytes(bytes)) => {
                Some(self.nested(*id, bytes, depth + 1)?)
            }
            (ProtoType::Map(_) | ProtoType::Unknown, _) => None,
            _ => return Err(broken("wrong wireType for field")),
        })
    }

    fn nested(&self, id: TypeId, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
        match self.table.ty(id) {
            Type::Object(object) => {
                let mut members = Map::new();
                if let Some(message) = &object.proto {
                    self.message(message, bytes, &mut members, depth)?;
                }
                Ok(Value::Object(members))
            }
            // Named lists of strings (`ExtraValue`, `Verbs`) are messages with one repeated field.
            Type::List { .. } => {
                let mut items = Vec::new();
                let mut reader = Reader(bytes);
                while let Some((number, wire)) = reader.next()? {
                    if let (1, Wire::Bytes(bytes)) = (number, wire) {
                        items.push(Value::String(text(bytes)));
                    }
                }
                Ok(Value::Array(items))
            }
            _ => Ok(Value::Null),
        }
    }
}

fn is_number(ty: &ProtoType) -> bool {
    matches!(
        ty,
        ProtoType::Bool
            | ProtoType::Int32
            | ProtoType::Int64
            | ProtoType::Double
            | ProtoType::Float
    )
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        _ => false,
    }
}

fn push(into: &mut Map<String, Value>, key: &str, value: Value) {
    match into.get_mut(key) {
        Some(Value::Array(items)) => items.push(value),
        _ => {
            into.insert(key.to_owned(), Value::Array(vec![value]));
        }
    }
}

fn float(value: f64) -> Option<Value> {
    Number::from_f64(value).map(Value::Number)
}

fn first_text(bytes: &[u8]) -> Result<String, DecodeError> {
    let mut reader = Reader(bytes);
    let mut found = String::new();
    while let Some((number, wire)) = reader.next()? {
        if let (1, Wire::Bytes(bytes)) = (number, wire) {
            found = text(bytes);
        }
    }
    Ok(found)
}

fn time(bytes: &[u8], print: fn(jiff::Timestamp) -> String) -> Result<Option<Value>, DecodeError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut reader = Reader(bytes);
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    while let Some((number, wire)) = reader.next()? {
        match (number, wire) {
            (1, Wire::Varint(n)) => seconds = n as i64,
            (2, Wire::Varint(n)) => nanos = n as i32,
            _ => {}
        }
    }
    let at = jiff::Timestamp::new(seconds, nanos).map_err(|e| broken(&e.to_string()))?;
    Ok(Some(Value::String(print(at))))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (mut is_text, mut number, mut string) = (false, 0_i32, String::new());
    let mut reader = Reader(bytes);
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    while let Some((field, wire)) = reader.next()? {
        match (field, wire) {
            (1, Wire::Varint(n)) => is_text = n == 1,
            (2, Wire::Varint(n)) => number = n as i32,
            (3, Wire::Bytes(bytes)) => string = text(bytes),
            _ => {}
        }
    }
    Ok(if is_text {
        Value::String(string)
    } else {
        Value::from(number)
    })
}

#[cfg(test)]
mod tests;
