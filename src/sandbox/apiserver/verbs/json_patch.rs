//! RFC 6902, as the real server's library (`evanphx/json-patch` v4) takes it: `replace` of a member that
//! is not there adds it, `copy` of one gives null, negative indices count from the end.

use serde_json::{Map, Value};

/// A parsed patch; what its operations lack is found when they are applied.
#[derive(Debug)]
pub(crate) struct JsonPatch(Vec<Map<String, Value>>);

/// The patch does not apply; the real server says no more than that.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inapplicable;

type Applied<T> = Result<T, Inapplicable>;

impl JsonPatch {
    /// # Errors
    /// If it is no list of objects, in Go's words.
    pub(crate) fn parse(document: Value) -> Result<Self, String> {
        let refuse = |value: &Value, of: &str| {
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            Err(format!(
                "json: cannot unmarshal {kind} into Go value of type {of}"
            ))
        };
        let operations = match document {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            other => return refuse(&other, "[]handlers.jsonPatchOp"),
        };
        let mut parsed = Vec::with_capacity(operations.len());
        for operation in operations {
            match operation {
                Value::Object(map) => parsed.push(map),
                Value::Null => parsed.push(Map::new()),
                other => return refuse(&other, "handlers.jsonPatchOp"),
            }
        }
        Ok(Self(parsed))
    }

    /// How many operations it has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The patched document.
    pub(crate) fn apply(&self, document: &Value) -> Applied<Value> {
        let mut new = document.clone();
        for operation in &self.0 {
            apply(&mut new, operation)?;
        }
        Ok(new)
    }
}

fn apply(document: &mut Value, operation: &Map<String, Value>) -> Applied<()> {
    let text = |key: &str| {
        operation
            .get(key)
            .and_then(Value::as_str)
            .ok_or(Inapplicable)
    };
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match text("op")? {
        "add" => add(document, text("path")?, value()),
        "remove" => remove(document, text("path")?).map(drop),
        "replace" => replace(document, text("path")?, value()),
        "move" => {
            let moved = remove(document, text("from")?)?;
            add(document, text("path")?, moved)
        }
        "copy" => {
            let copied = get(document, text("from")?)?;
            add(document, text("path")?, copied)
        }
        "test" => {
            let path = text("path")?;
            let found = if path.is_empty() {
                document.clone()
            } else {
                get(document, path)?
            };
            if found == value() {
                Ok(())
            } else {
                Err(Inapplicable)
            }
        }
        _ => Err(Inapplicable),
    }
}

/// The container that a path leads to, and the last part of the path.
fn container<'d>(document: &'d mut Value, path: &str) -> Applied<(&'d mut Value, String)> {
    let mut parts = path.split('/');
    // What stands before the first slash does not count; without one there is no path.
    parts.next();
    let mut parts: Vec<String> = parts
        .map(|p| p.replace("~1", "/").replace("~0", "~"))
        .collect();
    let last = parts.pop().ok_or(Inapplicable)?;
    let mut at = document;
    for part in parts {
        at = match at {
            Value::Object(map) => map.get_mut(&part),
            Value::Array(items) => {
                let at = index(&part, items.len())?;
                items.get_mut(at)
            }
            _ => None,
        }
        .ok_or(Inapplicable)?;
    }
    if at.is_object() || at.is_array() {
        Ok((at, last))
    } else {
        Err(Inapplicable)
    }
}

/// An index into a list of this length; negative ones count from its end.
fn index(text: &str, length: usize) -> Applied<usize> {
    let index: i64 = text.parse().map_err(|_| Inapplicable)?;
    let length = i64::try_from(length).map_err(|_| Inapplicable)?;
    let index = if index < 0 { index + length } else { index };
    usize::try_from(index).map_err(|_| Inapplicable)
}

fn get(document: &mut Value, path: &str) -> Applied<Value> {
    match container(document, path)? {
        (Value::Object(map), key) => Ok(map.get(&key).cloned().unwrap_or(Value::Null)),
        (Value::Array(items), key) => {
            let at = index(&key, items.len())?;
            items.get(at).cloned().ok_or(Inapplicable)
        }
        _ => Err(Inapplicable),
    }
}

fn add(document: &mut Value, path: &str, value: Value) -> Applied<()> {
    match container(document, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
        }
        (Value::Array(items), key) => {
            let at = if key == "-" {
                items.len()
            } else {
                index(&key, items.len() + 1)?
            };
            if at > items.len() {
                return Err(Inapplicable);
            }
            items.insert(at, value);
        }
        _ => return Err(Inapplicable),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Applied<Value> {
    match container(document, path)? {
        (Value::Object(map), key) => map.remove(&key).ok_or(Inapplicable),
        (Value::Array(items), key) => {
            let at = index(&key, items.len())?;
            if at < items.len() {
                Ok(items.remove(at))
            } else {
                Err(Inapplicable)
            }
        }
        _ => Err(Inapplicable),
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Applied<()> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err(Inapplicable);
        }
        *document = value;
        return Ok(());
    }
    match container(document, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
            Ok(())
        }
        (Value::Array(items), key) => {
            let at = index(&key, items.len())?;
            *items.get_mut(at).ok_or(Inapplicable)? = value;
            Ok(())
        }
        _ => Err(Inapplicable),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(document: Value, patch: Value) -> Applied<Value> {
        JsonPatch::parse(patch).unwrap().apply(&document)
    }

    #[test]
    fn it_takes_what_the_real_library_takes() {
        let ok = |document: Value, patch: Value, expected: Value| {
            assert_eq!(patched(document, patch.clone()), Ok(expected), "{patch}");
        };
        ok(
            json!({"a": 1}),
            json!([{"op": "replace", "path": "/b", "value": 2}]),
            json!({"a": 1, "b": 2}),
        );
        ok(
            json!({"a": 1}),
            json!([{"op": "copy", "from": "/x", "path": "/b"}]),
            json!({"a": 1, "b": null}),
        );
        ok(
            json!({"a": [1, 2]}),
            json!([{"op": "add", "path": "/a/-", "value": 3}]),
            json!({"a": [1, 2, 3]}),
        );
        ok(
            json!({"a": [1, 2]}),
            json!([{"op": "remove", "path": "/a/-1"}]),
            json!({"a": [1]}),
        );
        ok(
            json!({"a/b": {"~": 1}}),
            json!([{"op": "test", "path": "/a~1b/~0", "value": 1}]),
            json!({"a/b": {"~": 1}}),
        );
        ok(
            json!({"a": 1}),
            json!([{"op": "test", "path": "/b", "value": null}]),
            json!({"a": 1}),
        );
        ok(json!({"a": 1}), json!(null), json!({"a": 1}));
        for bad in [
            json!([{"op": "test", "path": "/a", "value": 9}]),
            json!([{"op": "remove", "path": "/b"}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            json!([{"op": "add", "path": "/l/9", "value": 1}]),
            json!([{"op": "add", "path": "a", "value": 1}]),
            json!([{"op": "nope", "path": "/a"}]),
            json!([{"path": "/a"}]),
            json!([{"op": "replace", "path": "", "value": 1}]),
            json!([null]),
        ] {
            assert_eq!(
                patched(json!({"a": 1, "l": []}), bad.clone()),
                Err(Inapplicable),
                "{bad}"
            );
        }
    }
}
