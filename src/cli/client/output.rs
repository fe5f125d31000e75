//! How results are written.

use std::io::{self, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::Value;

use crate::clock;

/// `-o`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines and tables for people
    #[default]
    Text,
    /// The same with more columns
    Wide,
    /// The result as the server gave it
    Json,
    /// The same in YAML
    Yaml,
    /// The action's id alone
    Name,
}

/// Writes a value in `Json` or `Yaml`; false for the other formats, which writes nothing.
pub(super) fn document(
    format: Format,
    value: &Value,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<bool> {
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(value)?)?,
        Format::Yaml => write!(out, "{}", serde_saphyr::to_string(value)?)?,
        Format::Text | Format::Wide | Format::Name => return Ok(false),
    }
    Ok(true)
}

/// A member's text; empty if it is missing or null.
pub(super) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// Writes rows with aligned columns, three blanks apart, as kubectl does.
pub(in crate::cli) fn table(rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}   "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// How long ago, as kubectl shows ages (`5s`, `2m10s`, `3h`, `4d`); empty if `at` is no time.
pub(super) fn age(at: &str) -> String {
    at.parse()
        .map_or_else(|_| String::new(), |at: Timestamp| between(at, clock::now()))
}

/// How long it took; empty if one of the texts is no time.
pub(super) fn took(from: &str, to: &str) -> String {
    match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) => between(from, to),
        _ => String::new(),
    }
}

fn between(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let from = Timestamp::UNIX_EPOCH;
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (3000, "50m"),
            (10_800, "3h"),
            (200_000, "2d"),
        ] {
            let to = Timestamp::from_second(seconds).unwrap();
            assert_eq!(between(from, to), text);
        }
        assert_eq!(took("", "2026-01-01T00:00:00Z"), "");
    }

    #[test]
    fn columns_are_aligned() {
        let mut out = Vec::new();
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        table(&[row(["ID", "ÄÖ", ""]), row(["1", "x", "last"])], &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ID   ÄÖ\n1    x    last\n");
    }
}
