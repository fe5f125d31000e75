//! Finds the end of the first JSON value of a body, with the verdicts and the words of Go's
//! `encoding/json` (scanner.go, stream.go), which callers of the original have seen.
//!
//! Invariants: no recursion, so no input can exhaust the stack; one pass, so no input takes longer
//! than its length; a span that this module has accepted is walked by [`super::decode`] without
//! further checks.

/// How deep Go's scanner follows arrays and objects (scanner.go, `maxNestingDepth`).
const MAX_DEPTH: usize = 10_000;

/// Why a body is no JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Nothing but white space.
    #[error("EOF")]
    Eof,
    /// The value does not end.
    #[error("unexpected EOF")]
    UnexpectedEof,
    /// A byte that cannot stand where it stands.
    #[error("invalid character {} {context}", quote_byte(*byte))]
    Invalid {
        /// The byte.
        byte: u8,
        /// What was being read.
        context: &'static str,
    },
}

/// What a byte of the value is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEndOfArray,
    Key,
    KeyOrEndOfObject,
    /// After a value, or after a key.
    After,
    InString,
    Escape,
    /// So many hexadecimal digits of `\uXXXX` are still to come.
    Hex(u8),
    /// After `-`.
    Minus,
    /// After a leading `0`.
    Zero,
    /// In the digits before the point.
    Integer,
    /// After the point.
    Point,
    Fraction,
    /// After `e`.
    Exponent,
    /// After the exponent's sign.
    ExponentSign,
    ExponentDigits,
    /// In `true`, `false` or `null`, so many bytes of it read.
    Word(&'static Word, usize),
}

/// A literal's remaining bytes, each with what is said when it is missing.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    rest: &'static [u8],
    contexts: &'static [&'static str],
}

static TRUE: Word = Word {
    rest: b"rue",
    contexts: &[
        "in literal true (expecting 'r')",
        "in literal true (expecting 'u')",
        "in literal true (expecting 'e')",
    ],
};
static FALSE: Word = Word {
    rest: b"alse",
    contexts: &[
        "in literal false (expecting 'a')",
        "in literal false (expecting 'l')",
        "in literal false (expecting 's')",
        "in literal false (expecting 'e')",
    ],
};
static NULL: Word = Word {
    rest: b"ull",
    contexts: &[
        "in literal null (expecting 'u')",
        "in literal null (expecting 'l')",
        "in literal null (expecting 'l')",
    ],
};

/// What is being read around the current value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    ObjectKey,
    ObjectValue,
    Array,
}

/// What a byte did.
enum Step {
    /// It belongs to the value.
    On(State),
    /// It ends the value and belongs to it.
    End,
    /// The value had ended before it.
    Ended,
}

/// The first JSON value of `body`, without the white space around it. What follows it is not looked
/// at, as in Go's `Decoder.Decode`.
///
/// # Errors
/// See [`Error`].
pub(super) fn first_value(body: &[u8]) -> Result<&[u8], Error> {
    let mut scan = Scan::default();
    let mut start = None;
    for (index, &byte) in body.iter().enumerate() {
        if start.is_none() && !is_space(byte) {
            start = Some(index);
        }
        match scan.step(byte)? {
            Step::On(next) => scan.state = next,
            Step::End => return Ok(&body[start.unwrap_or(index)..=index]),
            Step::Ended => return Ok(&body[start.unwrap_or(index)..index]),
        }
    }
    let Some(start) = start else {
        return Err(Error::Eof);
    };
    // A number at the top ends with the input: ask what white space would do.
    match scan.step(b' ') {
        Ok(Step::Ended) => Ok(&body[start..]),
        _ => Err(Error::UnexpectedEof),
    }
}

struct Scan {
    state: State,
    around: Vec<Around>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            state: State::Value,
            around: Vec::new(),
        }
    }
}

impl Scan {
    fn step(&mut self, byte: u8) -> Result<Step, Error> {
        let invalid = |context| Err(Error::Invalid { byte, context });
        let hex = byte.is_ascii_hexdigit();
        let next = match self.state {
            State::Value | State::ValueOrEndOfArray if is_space(byte) => self.state,
            State::ValueOrEndOfArray if byte == b']' => return self.after(byte),
            State::Value | State::ValueOrEndOfArray => self.begin(byte)?,
            State::Key | State::KeyOrEndOfObject if is_space(byte) => self.state,
            State::KeyOrEndOfObject if byte == b'}' => {
                self.replace(Around::ObjectValue);
                return self.after(byte);
            }
            State::Key | State::KeyOrEndOfObject => match byte {
                b'"' => State::InString,
                _ => return invalid("looking for beginning of object key string"),
            },
            State::After => return self.after(byte),
            State::InString => match byte {
                b'"' => State::After,
                b'\\' => State::Escape,
                0..0x20 => return invalid("in string literal"),
                _ => State::InString,
            },
            State::Escape => match byte {
                b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => State::InString,
                b'u' => State::Hex(4),
                _ => return invalid("in string escape code"),
            },
            State::Hex(1) if hex => State::InString,
            State::Hex(left) if hex => State::Hex(left - 1),
            State::Hex(_) => return invalid("in \\u hexadecimal character escape"),
            State::Minus => match byte {
                b'0' => State::Zero,
                b'1'..=b'9' => State::Integer,
                _ => return invalid("in numeric literal"),
            },
            State::Integer if byte.is_ascii_digit() => State::Integer,
            State::Integer | State::Zero if byte == b'.' => State::Point,
            State::Point if byte.is_ascii_digit() => State::Fraction,
            State::Point => return invalid("after decimal point in numeric literal"),
            State::Fraction if byte.is_ascii_digit() => State::Fraction,
            State::Integer | State::Zero | State::Fraction if matches!(byte, b'e' | b'E') => {
                State::Exponent
            }
            State::Exponent if matches!(byte, b'+' | b'-') => State::ExponentSign,
            State::Exponent | State::ExponentSign | State::ExponentDigits
                if byte.is_ascii_digit() =>
            {
                State::ExponentDigits
            }
            State::Exponent | State::ExponentSign => {
                return invalid("in exponent of numeric literal");
            }
            State::Integer | State::Zero | State::Fraction | State::ExponentDigits => {
                return self.after(byte);
            }
            State::Word(word, read) => {
                if word.rest[read] != byte {
                    return invalid(word.contexts[read]);
                }
                if read + 1 == word.rest.len() {
                    State::After
                } else {
                    State::Word(word, read + 1)
                }
            }
        };
        Ok(Step::On(next))
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8) -> Result<State, Error> {
        Ok(match byte {
            b'{' => self.push(byte, Around::ObjectKey, State::KeyOrEndOfObject)?,
            b'[' => self.push(byte, Around::Array, State::ValueOrEndOfArray)?,
            b'"' => State::InString,
            b'-' => State::Minus,
            b'0' => State::Zero,
            b'1'..=b'9' => State::Integer,
            b't' => State::Word(&TRUE, 0),
            b'f' => State::Word(&FALSE, 0),
            b'n' => State::Word(&NULL, 0),
            _ => {
                return Err(Error::Invalid {
                    byte,
                    context: "looking for beginning of value",
                });
            }
        })
    }

    /// A byte after a value or a key.
    fn after(&mut self, byte: u8) -> Result<Step, Error> {
        let invalid = |context| Err(Error::Invalid { byte, context });
        let Some(&around) = self.around.last() else {
            return Ok(Step::Ended);
        };
        if is_space(byte) {
            return Ok(Step::On(State::After));
        }
        let next = match (around, byte) {
            (Around::ObjectKey, b':') => {
                self.replace(Around::ObjectValue);
                State::Value
            }
            (Around::ObjectKey, _) => return invalid("after object key"),
            (Around::ObjectValue, b',') => {
                self.replace(Around::ObjectKey);
                State::Key
            }
            (Around::Array, b',') => State::Value,
            (Around::ObjectValue, b'}') | (Around::Array, b']') => {
                self.around.pop();
                if self.around.is_empty() {
                    return Ok(Step::End);
                }
                State::After
            }
            (Around::ObjectValue, _) => return invalid("after object key:value pair"),
            (Around::Array, _) => return invalid("after array element"),
        };
        Ok(Step::On(next))
    }

    fn push(&mut self, byte: u8, around: Around, next: State) -> Result<State, Error> {
        self.around.push(around);
        if self.around.len() > MAX_DEPTH {
            let context = "exceeded max depth";
            return Err(Error::Invalid { byte, context });
        }
        Ok(next)
    }

    fn replace(&mut self, around: Around) {
        if let Some(last) = self.around.last_mut() {
            *last = around;
        }
    }
}

/// JSON's white space.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A byte as Go's `quoteChar` shows it: taken for a character of Latin-1.
fn quote_byte(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => {
            let quoted = super::quote::go(&char::from(byte).to_string());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &[u8]) -> String {
        first_value(body).unwrap_err().to_string()
    }

    #[test]
    fn takes_the_first_value_and_no_more() {
        for (body, value) in [
            (&b" {\"a\": [1, {}]} garbage"[..], &b"{\"a\": [1, {}]}"[..]),
            (b"[]]", b"[]"),
            (b"12 3", b"12"),
            (b"-0.5e+7", b"-0.5e+7"),
            (b"null,", b"null"),
            (b"\"\\u00e9\\\"\xff\"x", b"\"\\u00e9\\\"\xff\""),
            (b"true", b"true"),
        ] {
            assert_eq!(first_value(body).unwrap(), value);
        }
    }

    #[test]
    fn says_what_go_says() {
        for (body, said) in [
            (&b""[..], "EOF"),
            (b" \n\t", "EOF"),
            (b"{", "unexpected EOF"),
            (b"1.", "unexpected EOF"),
            (b"tru", "unexpected EOF"),
            (b"\"abc", "unexpected EOF"),
            (
                b"{b",
                "invalid character 'b' looking for beginning of object key string",
            ),
            (
                b"{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            (b"{\"a\" 1}", "invalid character '1' after object key"),
            (
                b"{\"a\":1 2}",
                "invalid character '2' after object key:value pair",
            ),
            (b"[1 2]", "invalid character '2' after array element"),
            (b"[1}", "invalid character '}' after array element"),
            (
                b"[,",
                "invalid character ',' looking for beginning of value",
            ),
            (
                b"'a'",
                "invalid character '\\'' looking for beginning of value",
            ),
            (b"[1\"", "invalid character '\"' after array element"),
            (
                b"nil",
                "invalid character 'i' in literal null (expecting 'u')",
            ),
            (
                b"tRue",
                "invalid character 'R' in literal true (expecting 'r')",
            ),
            (
                b"falsy",
                "invalid character 'y' in literal false (expecting 'e')",
            ),
            (b"-x", "invalid character 'x' in numeric literal"),
            (b"[01]", "invalid character '1' after array element"),
            (
                b"1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                b"1e+x",
                "invalid character 'x' in exponent of numeric literal",
            ),
            (b"\"a\nb\"", "invalid character '\\n' in string literal"),
            (b"\"\x00\"", "invalid character '\\x00' in string literal"),
            (b"\"\\x\"", "invalid character 'x' in string escape code"),
            (
                b"\"\\u12g\"",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            (
                b"\xef\xbb\xbf{}",
                "invalid character 'ï' looking for beginning of value",
            ),
            (
                b"\x7f",
                "invalid character '\\x7f' looking for beginning of value",
            ),
            (
                b"\x85",
                "invalid character '\\u0085' looking for beginning of value",
            ),
            (
                b"\xad",
                "invalid character '\\u00ad' looking for beginning of value",
            ),
            (
                b"\\",
                "invalid character '\\\\' looking for beginning of value",
            ),
        ] {
            assert_eq!(error(body), said, "{:?}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn ten_thousand_deep_is_deep_enough() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(first_value(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(
            error(&nested(MAX_DEPTH + 1)),
            "invalid character '[' exceeded max depth"
        );
    }
}
