//! Text to [`Value`], keeping what `serde_json` alone would lose: which keys came twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{DecodeError, scan};

/// Where a value stands; a chain of stack frames, rendered only when something is wrong.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    /// A map's key: part of the path, but no field of a Go struct.
    Entry(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// The struct fields on the way, joined by dots: how Go names a field in its type errors.
    pub(super) fn fields(&self) -> String {
        match self {
            Path::Root => String::new(),
            Path::Entry(parent, _) | Path::Index(parent, _) => parent.fields(),
            Path::Key(parent, key) => {
                let parent = parent.fields();
                if parent.is_empty() {
                    (*key).to_owned()
                } else {
                    format!("{parent}.{key}")
                }
            }
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) | Path::Entry(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) | Path::Entry(parent, key) => write!(f, "{parent}.{key}"),
            Path::Index(parent, at) => write!(f, "{parent}[{at}]"),
        }
    }
}

/// Parses one JSON document; doubled keys are told in `found`, and the last one wins.
pub(super) fn parse(body: &[u8], found: &mut Vec<String>) -> Result<Value, DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = Seed {
        path: Path::Root,
        found,
        every: false,
    };
    let value = seed
        .deserialize(&mut deserializer)
        .map_err(|e| syntax(body, &e))?;
    deserializer.end().map_err(|e| syntax(body, &e))?;
    Ok(value)
}

/// Sorts findings of strict decoding as the real decoder meets them: from the start of a JSON body to
/// its end. (Those of other formats stay as they are.)
pub(super) fn in_order_of_appearance(body: &[u8], findings: &mut [String]) {
    if findings.len() < 2 {
        return;
    }
    let mut met = Vec::new();
    let seed = Seed {
        path: Path::Root,
        found: &mut met,
        every: true,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    if seed.deserialize(&mut deserializer).is_ok() {
        findings.sort_by_cached_key(|finding| met.iter().position(|m| m == finding));
    }
}

/// Parses one YAML document; JSON is YAML and takes the faster way.
pub(super) fn parse_yaml(body: &[u8], found: &mut Vec<String>) -> Result<Value, DecodeError> {
    if body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
        && let Ok(value) = parse(body, found)
    {
        return Ok(value);
    }
    found.clear();
    serde_saphyr::from_slice::<Value>(body)
        .map_err(|e| DecodeError::Syntax(format!("error converting YAML to JSON: yaml: {e}")))
}

/// In Go's words where Go finds fault too; what only our parser refuses (depth, invalid UTF-8) in its own.
fn syntax(body: &[u8], error: &serde_json::Error) -> DecodeError {
    DecodeError::Syntax(scan::first_error(body).unwrap_or_else(|| error.to_string()))
}

struct Seed<'a, 'p> {
    path: Path<'p>,
    found: &'a mut Vec<String>,
    /// Tell every key, not just the doubled ones.
    every: bool,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = Path::Index(&self.path, items.len());
            match seq.next_element_seed(Seed {
                path,
                found: &mut *self.found,
                every: self.every,
            })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = Path::Key(&self.path, &key);
            if members.contains_key(&key) {
                self.found.push(format!("duplicate field \"{path}\""));
            } else if self.every {
                self.found.push(format!("unknown field \"{path}\""));
            }
            let value = map.next_value_seed(Seed {
                path,
                found: &mut *self.found,
                every: self.every,
            })?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn doubled_keys_are_told_with_their_path_and_the_last_wins() {
        let mut found = Vec::new();
        let body = br#"{"spec":{"replicas":1,"replicas":2,"list":[{"a":1,"a":2}]}}"#;
        let value = parse(body, &mut found).unwrap();
        assert_eq!(value, json!({"spec": {"replicas": 2, "list": [{"a": 2}]}}));
        assert_eq!(
            found,
            [
                "duplicate field \"spec.replicas\"",
                "duplicate field \"spec.list[0].a\""
            ]
        );
    }

    #[test]
    fn broken_bodies_are_errors_not_panics() {
        let text = |body: &[u8]| parse(body, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(text(b""), "unexpected end of JSON input");
        assert_eq!(text(b"{\"a\":"), "unexpected end of JSON input");
        assert!(
            text(b"{a}").starts_with("invalid character 'a'"),
            "{}",
            text(b"{a}")
        );
        assert!(text(&[[b'['; 5000], [b']'; 5000]].concat()).contains("recursion"));
        assert!(text(b"{} x").contains('x'));
        text(&[b'"', 0xff, b'"']);
    }

    #[test]
    fn yaml_and_json_in_a_yaml_body() {
        let want = json!({"a": {"b": [1, true, "x"]}});
        assert_eq!(
            parse_yaml(b"a:\n  b: [1, true, x]\n", &mut Vec::new()).unwrap(),
            want
        );
        let json = br#"{"a":{"b":[1,true,"x"]}}"#;
        assert_eq!(parse_yaml(json, &mut Vec::new()).unwrap(), want);
        assert!(parse_yaml(b"a: [", &mut Vec::new()).is_err());
    }
}
