//! Strict reading of a positioned tree: every value has its type, every field its name, and each deviation
//! becomes a [`Problem`] while the reading goes on, so that a user sees all of them at once.

use std::fmt;

use super::duration::GoDuration;
use super::yaml::{Entry, Node, Position, Value};

/// A mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub at: Position,
    /// The field, for example `profiles[0].schedulerName`; empty if none.
    pub path: String,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.at;
        write!(f, "line {line}, column {column}: ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// Collects the problems of one reading.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

/// The fields of an object that have not been read yet.
pub(super) struct Fields<'a> {
    left: Vec<&'a Entry>,
    known: Vec<&'static str>,
    path: String,
}

impl<'a> Fields<'a> {
    /// The value of a field, unless it is missing or null, and its path.
    pub(super) fn take(&mut self, name: &'static str) -> Option<(&'a Node, String)> {
        self.known.push(name);
        let at = self.left.iter().position(|entry| entry.key == name)?;
        let entry = self.left.remove(at);
        if matches!(entry.node.value, Value::Null) {
            return None;
        }
        Some((&entry.node, join(&self.path, name)))
    }

    /// The path of a field.
    pub(super) fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }
}

/// `path.name`, or `name` at the top.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl Reader {
    pub(super) fn problem(&mut self, at: Position, path: &str, text: impl Into<String>) {
        self.problems.push(Problem {
            at,
            path: path.to_owned(),
            text: text.into(),
        });
    }

    fn wrong_type(&mut self, node: &Node, path: &str, wanted: &str) {
        let shown = match &node.value {
            Value::Number(text) => format!("the number {text}"),
            Value::Text(text) => format!("the string {text:?}"),
            Value::Bool(value) => format!("the boolean {value}"),
            other => other.kind().to_owned(),
        };
        self.problem(node.at, path, format!("must be {wanted}, not {shown}"));
    }

    /// Reads an object; fields that `read` does not take are unknown.
    pub(super) fn object<T>(
        &mut self,
        node: &Node,
        path: &str,
        read: impl FnOnce(&mut Self, &mut Fields<'_>) -> T,
    ) -> Option<T> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, path, "an object");
            return None;
        };
        let mut fields = Fields {
            left: entries.iter().collect(),
            known: Vec::new(),
            path: path.to_owned(),
        };
        let read = read(self, &mut fields);
        for entry in &fields.left {
            let hint = nearest(&entry.key, &fields.known)
                .map(|name| format!("; did you mean {name:?}?"))
                .unwrap_or_default();
            let text = format!("unknown field{hint}");
            self.problem(entry.at, &join(path, &entry.key), text);
        }
        Some(read)
    }

    /// Reads a list; items that cannot be read are left out.
    pub(super) fn list<T>(
        &mut self,
        field: Option<(&Node, String)>,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (node, path) = field?;
        let Value::List(items) = &node.value else {
            self.wrong_type(node, &path, "a list");
            return None;
        };
        let mut all = Vec::new();
        for (i, item) in items.iter().enumerate() {
            all.extend(read(self, item, &format!("{path}[{i}]")));
        }
        Some(all)
    }

    pub(super) fn text(&mut self, field: Option<(&Node, String)>) -> Option<String> {
        let (node, path) = field?;
        self.text_at(node, &path)
    }

    pub(super) fn text_at(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.wrong_type(node, path, "a string");
                None
            }
        }
    }

    pub(super) fn texts(&mut self, field: Option<(&Node, String)>) -> Option<Vec<String>> {
        self.list(field, |reader, node, path| reader.text_at(node, path))
    }

    pub(super) fn boolean(&mut self, field: Option<(&Node, String)>) -> Option<bool> {
        let (node, path) = field?;
        match node.value {
            Value::Bool(value) => Some(value),
            _ => {
                self.wrong_type(node, &path, "true or false");
                None
            }
        }
    }

    /// An integer that fits into `T`.
    pub(super) fn integer<T: TryFrom<i64>>(&mut self, field: Option<(&Node, String)>) -> Option<T> {
        let (node, path) = field?;
        let whole = match &node.value {
            Value::Number(text) => whole(text),
            _ => None,
        };
        let fits = whole.and_then(|value| T::try_from(value).ok());
        if fits.is_none() {
            let bits = 8 * size_of::<T>();
            self.wrong_type(
                node,
                &path,
                &format!("a whole number of at most {bits} bits"),
            );
        }
        fits
    }

    pub(super) fn float(&mut self, field: Option<(&Node, String)>) -> Option<f32> {
        let (node, path) = field?;
        let read = match &node.value {
            Value::Number(text) => text.parse::<f32>().ok(),
            _ => None,
        };
        if read.is_none() {
            self.wrong_type(node, &path, "a number");
        }
        read
    }

    pub(super) fn duration(&mut self, field: Option<(&Node, String)>) -> Option<GoDuration> {
        let (node, path) = field?;
        let read = match &node.value {
            Value::Text(text) => GoDuration::parse(text),
            // Go's "0" needs no unit, but JSON's 0 is no string: refused there as here.
            _ => None,
        };
        if read.is_none() {
            self.wrong_type(node, &path, "a duration such as \"15s\" or \"1m30s\"");
        }
        read
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        field: Option<(&Node, String)>,
        words: &[(&str, T)],
    ) -> Option<T> {
        let (node, path) = field?;
        let text = self.text_at(node, &path)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let supported: Vec<String> =
                words.iter().map(|(word, _)| format!("{word:?}")).collect();
            let supported = supported.join(", ");
            let text = format!("Unsupported value: {text:?}: supported values: {supported}");
            self.problem(node.at, &path, text);
        }
        found.map(|(_, value)| *value)
    }
}

/// The whole number that a YAML number is: decimal, hexadecimal, or a float without a fraction.
fn whole(text: &str) -> Option<i64> {
    if let Ok(value) = text.parse() {
        return Some(value);
    }
    let float: f64 = text.parse().ok()?;
    let exact = float.fract() == 0.0 && float.abs() < 9.0e15;
    // Exact below 2^53.
    #[allow(clippy::cast_possible_truncation)]
    exact.then_some(float as i64)
}

/// The name that a user probably meant.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let best = known
        .iter()
        .map(|known| (distance(name, known), *known))
        .min()?;
    (best.0 <= 1 + name.len() / 5).then_some(best.1)
}

/// How many letters differ (Levenshtein), case aside.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
