//! Label and field selectors, as `k8s.io/apimachinery/pkg/labels` and `…/fields` parse and match them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::meta;

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    NotExists(String),
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Greater(String, i64),
    Less(String, i64),
}

impl Requirement {
    fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let get = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        let number = |key: &str| get(key).and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::Exists(key) => get(key).is_some(),
            Self::NotExists(key) => get(key).is_none(),
            Self::In(key, values) => get(key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => get(key).is_none_or(|v| !values.contains(v)),
            Self::Greater(key, bound) => number(key).is_some_and(|v| v > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|v| v < *bound),
        }
    }
}

/// A conjunction of requirements on labels; the empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.is_empty() || self.matches_labels(meta::labels(object))
    }

    /// The labels that must have one value, with it.
    pub(crate) fn fixed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|requirement| match requirement {
            Requirement::In(label, values) if values.len() == 1 => {
                Some((label.as_str(), values.first()?.as_str()))
            }
            _ => None,
        })
    }

    pub(crate) fn matches_labels(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.0.iter().all(|r| r.matches(labels))
    }

    /// Parses the query parameter's syntax: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
        };
        let mut requirements = Vec::new();
        if parser.peek().is_none() {
            return Ok(Self(requirements));
        }
        loop {
            match parser.peek() {
                None => return Ok(Self(requirements)),
                Some(Token::Word(_) | Token::Not) => {}
                other => return Err(found(other.cloned(), "!, identifier, or 'end of string'")),
            }
            let requirement = parser.requirement();
            requirements
                .push(requirement.map_err(|e| format!("unable to parse requirement: {e}"))?);
            match parser.next() {
                None => return Ok(Self(requirements)),
                Some(Token::Comma) => {
                    if !matches!(parser.peek(), Some(Token::Word(_) | Token::Not)) {
                        return Err(found(parser.peek().cloned(), "identifier after ','"));
                    }
                }
                other => return Err(found(other, "',' or 'end of string'")),
            }
        }
    }

    /// A `metav1.LabelSelector` object. Null or absent selects nothing (`None`), `{}` everything.
    pub(crate) fn from_object(selector: Option<&Value>) -> Result<Option<Self>, String> {
        let Some(selector) = selector.filter(|s| s.is_object()) else {
            return Ok(None);
        };
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let value = value.as_str().unwrap_or_default().to_owned();
                requirements.push(Requirement::In(key.clone(), BTreeSet::from([value])));
            }
        }
        for expression in meta::list(selector, &["matchExpressions"]) {
            let key = meta::text(expression, &["key"]).to_owned();
            let values: BTreeSet<String> = meta::list(expression, &["values"])
                .iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect();
            requirements.push(match meta::text(expression, &["operator"]) {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::NotExists(key),
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            });
        }
        Ok(Some(Self(requirements)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Comma,
    Open,
    Close,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        let token = match c {
            ' ' | '\t' | '\n' | '\r' => {
                chars.next();
                continue;
            }
            ',' => Token::Comma,
            '(' => Token::Open,
            ')' => Token::Close,
            '>' => Token::Greater,
            '<' => Token::Less,
            '=' => {
                chars.next();
                if chars.peek() == Some(&'=') {
                    chars.next();
                }
                out.push(Token::Equals);
                continue;
            }
            '!' => {
                chars.next();
                if chars.peek() == Some(&'=') {
                    chars.next();
                    out.push(Token::NotEquals);
                } else {
                    out.push(Token::Not);
                }
                continue;
            }
            _ => {
                let mut word = String::new();
                while let Some(&c) = chars.peek() {
                    if " \t\n\r,()=!<>".contains(c) {
                        break;
                    }
                    word.push(c);
                    chars.next();
                }
                out.push(Token::Word(word));
                continue;
            }
        };
        chars.next();
        out.push(token);
    }
    Ok(out)
}

fn found(token: Option<Token>, expected: &str) -> String {
    let shown = match token {
        None => String::new(),
        Some(Token::Word(word)) => word,
        Some(Token::Comma) => ",".to_owned(),
        Some(Token::Open) => "(".to_owned(),
        Some(Token::Close) => ")".to_owned(),
        Some(Token::Not) => "!".to_owned(),
        Some(Token::Equals) => "=".to_owned(),
        Some(Token::NotEquals) => "!=".to_owned(),
        Some(Token::Greater) => ">".to_owned(),
        Some(Token::Less) => "<".to_owned(),
    };
    format!("found '{shown}', expected: {expected}")
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn key(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Word(word)) => {
                if let Some(why) = super::rules::names::qualified_name(&word)
                    .into_iter()
                    .next()
                {
                    return Err(format!("<nil>: Invalid value: {word:?}: {why}"));
                }
                Ok(word)
            }
            other => Err(found(other, "identifier")),
        }
    }

    /// A value may be empty: then the next token is a comma or the end.
    fn value(&mut self, key: &str) -> Result<String, String> {
        match self.peek() {
            Some(Token::Word(_)) => match self.next() {
                Some(Token::Word(word)) => {
                    if let Some(why) = super::rules::names::label_value(&word).into_iter().next() {
                        return Err(format!("values[0][{key}]: Invalid value: {word:?}: {why}"));
                    }
                    Ok(word)
                }
                other => Err(found(other, "identifier")),
            },
            None | Some(Token::Comma) => Ok(String::new()),
            Some(other) => Err(found(Some(other.clone()), "identifier")),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.peek() == Some(&Token::Not) {
            self.at += 1;
            return Ok(Requirement::NotExists(self.key()?));
        }
        let key = self.key()?;
        match self.peek().cloned() {
            None | Some(Token::Comma) => Ok(Requirement::Exists(key)),
            Some(Token::Equals) => {
                self.at += 1;
                let value = self.value(&key)?;
                Ok(Requirement::In(key, BTreeSet::from([value])))
            }
            Some(Token::NotEquals) => {
                self.at += 1;
                let value = self.value(&key)?;
                Ok(Requirement::NotIn(key, BTreeSet::from([value])))
            }
            Some(token @ (Token::Greater | Token::Less)) => {
                self.at += 1;
                let value = self.value(&key)?;
                let bound = value.parse().map_err(|_| {
                    format!("values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer")
                })?;
                Ok(if token == Token::Greater {
                    Requirement::Greater(key, bound)
                } else {
                    Requirement::Less(key, bound)
                })
            }
            Some(Token::Word(word)) if word == "in" || word == "notin" => {
                self.at += 1;
                let values = self.set()?;
                Ok(if word == "in" {
                    Requirement::In(key, values)
                } else {
                    Requirement::NotIn(key, values)
                })
            }
            other => Err(found(other, "in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn set(&mut self) -> Result<BTreeSet<String>, String> {
        match self.next() {
            Some(Token::Open) => {}
            other => return Err(found(other, "'('").replacen("', e", "' e", 1)),
        }
        let mut values = BTreeSet::new();
        loop {
            match self.next() {
                Some(Token::Word(word)) => {
                    values.insert(word);
                    match self.next() {
                        Some(Token::Comma) => {}
                        Some(Token::Close) => return Ok(values),
                        other => return Err(found(other, "',' or ')'")),
                    }
                }
                Some(Token::Comma) => {
                    values.insert(String::new());
                }
                Some(Token::Close) => {
                    values.insert(String::new());
                    return Ok(values);
                }
                other => return Err(found(other, "',', ')' or identifier")),
            }
        }
    }
}

/// A conjunction of (field, value, wanted equal).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<(String, String, bool)>);

impl FieldSelector {
    /// Parses `a=b,c!=d`; `\` escapes `,`, `=` and itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        let mut term = String::new();
        let mut escaped = false;
        let mut raw = Vec::new();
        for c in text.chars() {
            match c {
                ',' if !escaped => raw.push(std::mem::take(&mut term)),
                _ => term.push(c),
            }
            escaped = c == '\\' && !escaped;
        }
        raw.push(term);
        raw.sort();
        for term in raw.iter().filter(|t| !t.is_empty()) {
            let operator = term.find(['=', '!']).and_then(|_| {
                ["!=", "==", "="]
                    .into_iter()
                    .filter_map(|op| term.find(op).map(|at| (at, op)))
                    // The first place counts, there the longest operator.
                    .min_by_key(|(at, op)| (*at, 2 - op.len()))
            });
            let Some((at, operator)) = operator else {
                return Err(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                ));
            };
            let (field, value) = (&term[..at], &term[at + operator.len()..]);
            let value = unescape(value).map_err(|why| format!("invalid field selector: {why}"))?;
            if field.is_empty() && value.is_empty() {
                continue;
            }
            terms.push((field.to_owned(), value, operator != "!="));
        }
        Ok(Self(terms))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields it speaks of.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(field, ..)| field.as_str())
    }

    /// The fields that must have a value, with it.
    pub(crate) fn fixed(&self) -> impl Iterator<Item = (&str, &str)> {
        let terms = self.0.iter().filter(|(_, _, equal)| *equal);
        terms.map(|(field, value, _)| (field.as_str(), value.as_str()))
    }

    /// The name that `metadata.name=…` fixes.
    pub(crate) fn exact_name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(field, _, equal)| field == "metadata.name" && *equal)
            .map(|(_, value, _)| value.as_str())
    }

    /// Renames fields, for resources that two API groups serve.
    pub(crate) fn map_fields(mut self, rename: impl Fn(&str) -> String) -> Self {
        for (field, ..) in &mut self.0 {
            *field = rename(field);
        }
        self
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, value, equal)| {
            super::rules::fields::holds(object, field, value) == *equal
        })
    }
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("invalid escape sequence: \\{c}")),
                None => return Err("invalid escape sequence: \\".to_owned()),
            },
            '=' | ',' => return Err(format!("unescaped character in value: {}", u32::from(c))),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str, labels: Value) -> bool {
        let object = json!({"metadata": {"labels": labels}});
        LabelSelector::parse(selector).unwrap().matches(&object)
    }

    #[test]
    fn set_based_semantics() {
        assert!(selects("", json!({})));
        assert!(selects("a=b,c!=d", json!({"a": "b"})));
        assert!(!selects("a==b,c!=d", json!({"a": "b", "c": "d"})));
        assert!(selects(
            "tier in (x, y),!gone,app",
            json!({"tier": "y", "app": "1"})
        ));
        assert!(selects("tier notin (x)", json!({})));
        assert!(selects("n>3,n<5", json!({"n": "4"})));
        assert!(!selects("n>3", json!({"n": "three"})));
        assert!(selects("a=", json!({"a": ""})));
        assert!(!selects("example.com/x", json!({})));
    }

    #[test]
    fn refuses_nonsense() {
        for bad in [
            "a in b", "a in (b", ",", "a,", "=b", "a b", "a=b=c", "!", "a>x", "a=b c",
        ] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn label_selector_objects() {
        assert_eq!(LabelSelector::from_object(None), Ok(None));
        let all = LabelSelector::from_object(Some(&json!({})))
            .unwrap()
            .unwrap();
        assert!(all.matches(&json!({})));
        let some = LabelSelector::from_object(Some(&json!({
            "matchLabels": {"a": "b"},
            "matchExpressions": [{"key": "c", "operator": "DoesNotExist"}],
        })));
        let some = some.unwrap().unwrap();
        assert!(some.matches(&json!({"metadata": {"labels": {"a": "b"}}})));
        assert!(!some.matches(&json!({"metadata": {"labels": {"a": "b", "c": ""}}})));
        let bad = json!({"matchExpressions": [{"key": "c", "operator": "Near"}]});
        assert!(LabelSelector::from_object(Some(&bad)).is_err());
    }

    #[test]
    fn field_selectors() {
        let selector = FieldSelector::parse("metadata.name=a\\,b,spec.nodeName!=").unwrap();
        assert_eq!(selector.exact_name(), Some("a,b"));
        assert!(FieldSelector::parse("metadata.name").is_err());
        let bound = json!({"metadata": {"name": "a,b"}, "spec": {"nodeName": "n"}});
        assert!(selector.matches(&bound));
        assert!(!selector.matches(&json!({"metadata": {"name": "a,b"}})));
    }
}
