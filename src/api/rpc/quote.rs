//! Go's `strconv.Quote`, for error texts made with `%q`.

use std::fmt::Write;

/// `text` in double quotes, as Go's `%q` writes it.
pub(super) fn go(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0b' => out.push_str("\\v"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if is_print(c) => out.push(c),
            _ => {
                let code = u32::from(c);
                // Writing to a String cannot fail.
                let _ = match code {
                    0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                    0..0x1_0000 => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

/// Go's `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space. Rust's
/// debug escapes draw the same line, but for marks at the beginning of a text.
fn is_print(c: char) -> bool {
    let shown: String = format!("a{c}").escape_debug().collect();
    c == '\'' || !shown[1..].starts_with('\\')
}

#[cfg(test)]
mod tests {
    use super::go;

    #[test]
    fn quotes_as_go_does() {
        for (text, quoted) in [
            ("create", r#""create""#),
            ("a\"b\\c'", r#""a\"b\\c'""#),
            (
                "\x07\x08\x0c\n\r\t\x0b\0\x1b\x7f",
                r#""\a\b\f\n\r\t\v\x00\x1b\x7f""#,
            ),
            ("é\u{301}日\u{fffd}", "\"é\u{301}日\u{fffd}\""),
            (
                "\u{85}\u{a0}\u{200b}\u{feff}\u{2028}",
                r#""\u0085\u00a0\u200b\ufeff\u2028""#,
            ),
            ("\u{e0001}\u{1f600}", "\"\\U000e0001\u{1f600}\""),
        ] {
            assert_eq!(go(text), quoted);
        }
    }
}
