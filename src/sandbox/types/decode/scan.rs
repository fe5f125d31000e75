//! What Go's `encoding/json` says of a body that is no JSON (scanner.go): which character, and where.
//!
//! Runs only after `serde_json` has refused a body, so that speed does not matter; never recurses.

const END: &str = "unexpected end of JSON input";

/// Go quotes the character, with the escapes that its source code would need.
fn quote(c: u8) -> String {
    match c {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        0..0x20 | 0x7f => format!("'\\x{c:02x}'"),
        // Go takes the byte for a character, of which these are not printed.
        0x80..=0xa0 | 0xad => format!("'\\u{:04x}'", u32::from(c)),
        _ => format!("'{}'", char::from(c)),
    }
}

struct Scanner<'b> {
    body: &'b [u8],
    at: usize,
}

type Scanned = Result<(), String>;

impl Scanner<'_> {
    fn peek(&self) -> Result<u8, String> {
        self.body
            .get(self.at)
            .copied()
            .ok_or_else(|| END.to_owned())
    }

    fn wrong<T>(&self, c: u8, context: &str) -> Result<T, String> {
        Err(format!("invalid character {} {context}", quote(c)))
    }

    fn space(&mut self) {
        while matches!(self.body.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn document(&mut self) -> Scanned {
        // Open brackets: `{` or `[`.
        let mut open: Vec<u8> = Vec::new();
        loop {
            // A value begins here.
            self.space();
            match self.peek()? {
                b'{' => {
                    self.at += 1;
                    self.space();
                    if self.peek()? == b'}' {
                        self.at += 1;
                    } else {
                        open.push(b'{');
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    self.space();
                    if self.peek()? == b']' {
                        self.at += 1;
                    } else {
                        open.push(b'[');
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // A value has ended here: close what closes, then go on with the next value.
            loop {
                self.space();
                let Some(&last) = open.last() else {
                    return match self.body.get(self.at) {
                        None => Ok(()),
                        Some(&c) => self.wrong(c, "after top-level value"),
                    };
                };
                let c = self.peek()?;
                self.at += 1;
                match (last, c) {
                    (b'{', b'}') | (b'[', b']') => {
                        open.pop();
                    }
                    (b'{', b',') => {
                        self.space();
                        self.key()?;
                        break;
                    }
                    (b'[', b',') => break,
                    (b'{', c) => return self.wrong(c, "after object key:value pair"),
                    (_, c) => return self.wrong(c, "after array element"),
                }
            }
        }
    }

    fn key(&mut self) -> Scanned {
        match self.peek()? {
            b'"' => self.string()?,
            c => return self.wrong(c, "looking for beginning of object key string"),
        }
        self.space();
        match self.peek()? {
            b':' => self.at += 1,
            c => return self.wrong(c, "after object key"),
        }
        Ok(())
    }

    fn scalar(&mut self) -> Scanned {
        match self.peek()? {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            c => self.wrong(c, "looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &str) -> Scanned {
        for expected in word.bytes() {
            let c = self.peek()?;
            if c != expected {
                let expected = char::from(expected);
                return self.wrong(c, &format!("in literal {word} (expecting '{expected}')"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Scanned {
        self.at += 1;
        loop {
            let c = self.peek()?;
            self.at += 1;
            match c {
                b'"' => return Ok(()),
                b'\\' => {
                    let c = self.peek()?;
                    self.at += 1;
                    match c {
                        b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                        b'u' => {
                            for _ in 0..4 {
                                let c = self.peek()?;
                                if !c.is_ascii_hexdigit() {
                                    return self.wrong(c, "in \\u hexadecimal character escape");
                                }
                                self.at += 1;
                            }
                        }
                        c => return self.wrong(c, "in string escape code"),
                    }
                }
                0..0x20 => return self.wrong(c, "in string literal"),
                _ => {}
            }
        }
    }

    fn digits(&mut self, context: &str) -> Scanned {
        match self.peek()? {
            b'0'..=b'9' => {}
            c => return self.wrong(c, context),
        }
        while matches!(self.body.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Scanned {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.body.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.body.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.body.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }
}

/// The first syntax error in Go's words; `None` where Go finds none.
pub(super) fn first_error(body: &[u8]) -> Option<String> {
    Scanner { body, at: 0 }.document().err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mistakes_are_told_in_gos_words() {
        for (body, text) in [
            ("", END),
            ("{", END),
            (
                "{a}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            ("{} x", "invalid character 'x' after top-level value"),
            (
                "not json",
                "invalid character 'o' in literal null (expecting 'u')",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 \"b\"}",
                "invalid character '\"' after object key:value pair",
            ),
            ("[-]", "invalid character ']' in numeric literal"),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            (
                "<html>",
                "invalid character '<' looking for beginning of value",
            ),
        ] {
            assert_eq!(
                first_error(body.as_bytes()).as_deref(),
                Some(text),
                "{body}"
            );
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_parser(body in "[\\[\\]{}:,\"a0-9.e\\-\\\\ tfn]{0,12}") {
            let parsed = serde_json::from_str::<serde_json::Value>(&body).is_ok();
            // Numbers too large for a float are grammatical.
            if parsed {
                prop_assert_eq!(first_error(body.as_bytes()), None);
            } else if let Err(error) = serde_json::from_str::<serde_json::Value>(&body) {
                let range = error.to_string().contains("out of range");
                prop_assert!(range || first_error(body.as_bytes()).is_some(), "{}", error);
            }
        }
    }
}
