//! Decodes a JSON value into arguments as Go's `encoding/json` does (decode.go): keys match without
//! regard to case, the last of several wins (and objects are merged), unknown keys and `null` are
//! passed over, and the first value of a wrong type is told with Go's names of type, struct and field.
//!
//! Invariant: the spans that come here were accepted by [`super::scan`]. The targets' types bound the
//! recursion; what has no target is skipped by counting brackets.

use super::scan::is_space;

/// A value has not the type that its place wants. The text is Go's `UnmarshalTypeError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("json: cannot unmarshal {0}")]
pub(super) struct Error(String);

/// Something that a JSON value can be decoded into.
pub(super) trait Target {
    /// Go's name of the type, as error texts spell it.
    fn go_type(&self) -> String;
    /// Takes the value; a value of a wrong type is reported to `context`.
    fn take(&mut self, value: &[u8], context: &mut Context);
}

/// An object with known keys.
pub(super) trait Object {
    /// Go's name of the struct, without the package.
    const NAME: &'static str;
    /// Go's package.
    const PACKAGE: &'static str = "actions";
    /// The known keys with their places.
    fn fields(&mut self) -> Vec<(&'static str, &mut dyn Target)>;
}

/// Where the decoder is, and the first error.
#[derive(Debug, Default)]
pub(super) struct Context {
    structure: &'static str,
    path: Vec<&'static str>,
    error: Option<Error>,
}

impl Context {
    fn mismatch(&mut self, what: &str, go_type: &str) {
        if self.error.is_some() {
            return;
        }
        self.error = Some(Error(if self.path.is_empty() {
            format!("{what} into Go value of type {go_type}")
        } else {
            let (structure, path) = (self.structure, self.path.join("."));
            format!("{what} into Go struct field {structure}.{path} of type {go_type}")
        }));
    }
}

/// Decodes `value` into `target`.
///
/// # Errors
/// The first value of a wrong type.
pub(super) fn decode(value: &[u8], target: &mut dyn Target) -> Result<(), Error> {
    let mut context = Context::default();
    target.take(value, &mut context);
    context.error.map_or(Ok(()), Err)
}

/// Decodes the first element of the array `value` into `target` and passes over the others; without a
/// first element `target` stays as it is. (gorilla/rpc decodes `params` into `[1]interface{}`.)
///
/// # Errors
/// `value` is no array, or its first element has a wrong type.
pub(super) fn decode_first(value: &[u8], target: &mut dyn Target) -> Result<(), Error> {
    let mut context = Context::default();
    if value.first() == Some(&b'[') {
        if let Some(first) = Parts::of(value).next() {
            target.take(first, &mut context);
        }
    } else {
        context.mismatch(kind(value), "[1]interface {}");
    }
    context.error.map_or(Ok(()), Err)
}

impl<O: Object> Target for O {
    fn go_type(&self) -> String {
        format!("{}.{}", O::PACKAGE, O::NAME)
    }

    fn take(&mut self, value: &[u8], context: &mut Context) {
        match value.first() {
            Some(b'{') => {}
            Some(b'n') => return,
            _ => {
                let go_type = self.go_type();
                return context.mismatch(kind(value), &go_type);
            }
        }
        let mut fields = self.fields();
        let mut parts = Parts::of(value);
        while let (Some(key), Some(member)) = (parts.next(), parts.next()) {
            let key = unquote(key);
            let known = fields
                .iter()
                .position(|(name, _)| *name == key)
                .or_else(|| fields.iter().position(|(name, _)| same_folded(name, &key)));
            if let Some((name, target)) = known.and_then(|index| fields.get_mut(index)) {
                let outer = std::mem::replace(&mut context.structure, O::NAME);
                context.path.push(name);
                target.take(member, context);
                context.path.pop();
                context.structure = outer;
            }
        }
    }
}

impl Target for String {
    fn go_type(&self) -> String {
        "string".to_owned()
    }

    fn take(&mut self, value: &[u8], context: &mut Context) {
        match value.first() {
            Some(b'"') => *self = unquote(value),
            Some(b'n') => {}
            _ => context.mismatch(kind(value), "string"),
        }
    }
}

impl Target for i64 {
    fn go_type(&self) -> String {
        "int".to_owned()
    }

    fn take(&mut self, value: &[u8], context: &mut Context) {
        match kind(value) {
            "null" => {}
            "number" => {
                let text = String::from_utf8_lossy(value);
                match text.parse() {
                    Ok(number) => *self = number,
                    Err(_) => context.mismatch(&format!("number {text}"), "int"),
                }
            }
            other => context.mismatch(other, "int"),
        }
    }
}

impl<T: Target + Default> Target for Vec<T> {
    fn go_type(&self) -> String {
        format!("[]{}", T::default().go_type())
    }

    fn take(&mut self, value: &[u8], context: &mut Context) {
        match value.first() {
            Some(b'[') => {
                let mut length = 0;
                for (index, item) in Parts::of(value).enumerate() {
                    // A second array under the same key is decoded over the first one's elements.
                    if index == self.len() {
                        self.push(T::default());
                    }
                    self[index].take(item, context);
                    length = index + 1;
                }
                self.truncate(length);
            }
            Some(b'n') => self.clear(),
            _ => {
                let go_type = self.go_type();
                context.mismatch(kind(value), &go_type);
            }
        }
    }
}

/// A value left as it is (`*json.RawMessage`); `null` is none.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Raw(pub(super) Option<Vec<u8>>);

impl Target for Raw {
    fn go_type(&self) -> String {
        "json.RawMessage".to_owned()
    }

    fn take(&mut self, value: &[u8], _: &mut Context) {
        self.0 = (value.first() != Some(&b'n')).then(|| value.to_vec());
    }
}

/// Go's word for the kind of a value.
fn kind(value: &[u8]) -> &'static str {
    match value.first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        Some(b'n') | None => "null",
        Some(_) => "number",
    }
}

/// The elements of an array, or the keys and values of an object in turn.
struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(value: &'a [u8]) -> Self {
        Self {
            rest: value.get(1..).unwrap_or_default(),
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let begin = self
            .rest
            .iter()
            .position(|&byte| !is_space(byte) && !matches!(byte, b',' | b':'))?;
        let rest = &self.rest[begin..];
        if matches!(rest.first(), Some(b']' | b'}')) {
            self.rest = &[];
            return None;
        }
        let (part, after) = rest.split_at(length(rest));
        self.rest = after;
        Some(part)
    }
}

/// How many bytes the value at the beginning of `text` has.
fn length(text: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut index = 0;
    while let Some(&byte) = text.get(index) {
        match byte {
            b'"' => {
                index += 1;
                while !matches!(text.get(index), Some(b'"') | None) {
                    index += if text[index] == b'\\' { 2 } else { 1 };
                }
                if depth == 0 {
                    return (index + 1).min(text.len());
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return index,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            _ if depth == 0 && (is_space(byte) || matches!(byte, b',' | b':')) => return index,
            _ => {}
        }
        index += 1;
    }
    text.len()
}

/// Whether Go takes `key` for `name` (bytes.EqualFold; `name` is ASCII, two characters beyond it fold
/// into ASCII letters).
fn same_folded(name: &str, key: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(key.chars().map(fold))
}

/// The text of a string literal. What is no UTF-8, and halves of surrogate pairs, become U+FFFD.
fn unquote(literal: &[u8]) -> String {
    let inner = literal
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or_default();
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let plain = rest
            .iter()
            .position(|&byte| byte == b'\\')
            .unwrap_or(rest.len());
        push_utf8(&rest[..plain], &mut out);
        rest = &rest[plain..];
        let Some(&escape) = rest.get(1) else {
            break;
        };
        rest = &rest[2..];
        match escape {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let unit = hex4(rest).unwrap_or_default();
                rest = rest.get(4..).unwrap_or_default();
                let pair = rest
                    .strip_prefix(b"\\u")
                    .and_then(hex4)
                    .map(|low| [unit, low]);
                match (char::from_u32(u32::from(unit)), pair) {
                    (Some(c), _) => out.push(c),
                    (None, Some(pair)) => match char::decode_utf16(pair).next() {
                        Some(Ok(c)) => {
                            out.push(c);
                            rest = &rest[6..];
                        }
                        _ => out.push(char::REPLACEMENT_CHARACTER),
                    },
                    (None, None) => out.push(char::REPLACEMENT_CHARACTER),
                }
            }
            other => out.push(char::from(other)),
        }
    }
    out
}

fn hex4(text: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(text.get(..4)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

/// Go replaces each byte that begins no character, Rust each run of bytes that begins one.
fn push_utf8(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct Pod {
        name: String,
        namespace: String,
    }

    impl Object for Pod {
        const NAME: &'static str = "Pod";
        fn fields(&mut self) -> Vec<(&'static str, &mut dyn Target)> {
            vec![("name", &mut self.name), ("namespace", &mut self.namespace)]
        }
    }

    #[derive(Default, Debug, PartialEq)]
    struct Args {
        pods: Vec<Pod>,
        limit: i64,
        any: Raw,
        task: String,
    }

    impl Object for Args {
        const NAME: &'static str = "Args";
        fn fields(&mut self) -> Vec<(&'static str, &mut dyn Target)> {
            vec![
                ("pods", &mut self.pods),
                ("limit", &mut self.limit),
                ("any", &mut self.any),
                ("task", &mut self.task),
            ]
        }
    }

    fn args(text: &str) -> Result<Args, String> {
        let mut args = Args::default();
        decode(text.as_bytes(), &mut args).map_err(|e| e.to_string())?;
        Ok(args)
    }

    #[test]
    fn keys_fold_duplicates_merge_and_the_unknown_is_passed_over() {
        let got = args(
            r#"{ "x" : [ { "}" : "]\"" } , 1.5 ] , "PODS" : [ {"Name":"a"}, {"name":"b"} ] ,
                 "pods" : [ {"namespace":"n"} ] , "LiMiT" : 7 , "limit" : null ,
                 "any" : { "a" : [1, "\\"] } , "taſK" : "t" }"#,
        )
        .unwrap();
        assert_eq!(
            got.pods,
            [Pod {
                name: "a".into(),
                namespace: "n".into()
            }]
        );
        assert_eq!((got.limit, got.task.as_str()), (7, "t"));
        assert_eq!(got.any.0.unwrap(), br#"{ "a" : [1, "\\"] }"#);
        assert_eq!(
            args(r#"{"any":1,"any":null,"pods":[{}],"pods":[]}"#),
            args("null")
        );
    }

    #[test]
    fn wrong_types_are_told_with_go_names_and_the_first_is_told() {
        for (text, said) in [
            ("1", "number into Go value of type actions.Args"),
            ("[]", "array into Go value of type actions.Args"),
            (
                r#"{"pods":{}}"#,
                "object into Go struct field Args.pods of type []actions.Pod",
            ),
            (
                r#"{"pods":"x"}"#,
                "string into Go struct field Args.pods of type []actions.Pod",
            ),
            (
                r#"{"pods":[{},true]}"#,
                "bool into Go struct field Args.pods of type actions.Pod",
            ),
            (
                r#"{"pods":[{"NAME":[]}],"limit":{}}"#,
                "array into Go struct field Pod.pods.name of type string",
            ),
            (
                r#"{"limit":1.0}"#,
                "number 1.0 into Go struct field Args.limit of type int",
            ),
            (
                r#"{"limit":false}"#,
                "bool into Go struct field Args.limit of type int",
            ),
            (
                r#"{"limit":9223372036854775808}"#,
                "number 9223372036854775808 into Go struct field Args.limit of type int",
            ),
        ] {
            let said = format!("json: cannot unmarshal {said}");
            assert_eq!(args(text).unwrap_err(), said, "{text}");
        }
    }

    #[test]
    fn only_the_first_element_is_decoded() {
        let first = |text: &str| {
            let mut name = "before".to_owned();
            decode_first(text.as_bytes(), &mut name).map_err(|e| e.to_string())?;
            Ok::<_, String>(name)
        };
        assert_eq!(first(r#"[ "a" , 1 ]"#).unwrap(), "a");
        assert_eq!(first("[ ]").unwrap(), "before");
        assert_eq!(first("[null]").unwrap(), "before");
        assert_eq!(
            first("{}").unwrap_err(),
            "json: cannot unmarshal object into Go value of type [1]interface {}"
        );
    }

    #[test]
    fn strings_are_unquoted_as_go_does() {
        for (literal, text) in [
            (&br#""a\"\\\/\b\f\n\r\t""#[..], "a\"\\/\u{8}\u{c}\n\r\t"),
            (br#""\u00e9\ud83d\ude00""#, "é😀"),
            (
                br#""\ud83dx\ude00\ud83d\ud83d\ude00""#,
                "\u{fffd}x\u{fffd}\u{fffd}😀",
            ),
            (b"\"\xff\xe2\x82z\"", "\u{fffd}\u{fffd}\u{fffd}z"),
        ] {
            assert_eq!(unquote(literal), text);
        }
    }
}
