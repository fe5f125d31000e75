//! The session's script: files of lines, of which each is for one thing.
//!
//! ```text
//! # a remark
//! $ get pods -l app=web -o wide           a step: what kubectl is given, and its answer is compared
//! | apiVersion: v1                        what the step before reads from its standard input
//! ? get deploy web -o name => text        waits until kubectl prints just this
//! POD = get pods -o name                  keeps what kubectl prints; $POD in later lines stands for it
//! & get cm -w => 3                        starts a step that goes on, and waits for its first line
//! & end                                   waits until it has printed three, ends it, and compares them
//! ```
//!
//! Words are split at blanks; single and double quotes hold words together.

use std::path::{Path, PathBuf};

/// One line of the script, with its continuation.
#[derive(Debug, Clone)]
pub enum Line {
    /// A command whose answer is compared.
    Step { args: String, input: String },
    /// Waits until a command prints just this.
    Until { args: String, text: String },
    /// Keeps what a command prints.
    Keep { name: String, args: String },
    /// Starts a command that does not end by itself.
    Start { args: String, lines: usize },
    /// Ends the command started before, when it has printed enough.
    End,
}

/// A line and where it stands.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The file's name without its extension.
    pub file: String,
    /// Counted from 1.
    pub number: usize,
    /// What it says.
    pub line: Line,
}

/// The folder of the script and of the manifests that it names.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/session")
}

/// All files in the order of their names. With `WAM_SESSION_ONLY=20,31` only the files that begin so, and
/// the first one, which sets the scene.
///
/// # Panics
/// If a line cannot be read, with its place.
pub fn read() -> Vec<Placed> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the script's folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "session"))
        .collect();
    files.sort();
    let only = std::env::var("WAM_SESSION_ONLY").unwrap_or_default();
    let wanted = |name: &str| {
        only.is_empty() || name.starts_with("00") || only.split(',').any(|o| name.starts_with(o))
    };
    let mut lines = Vec::new();
    for path in files {
        let name = path.file_stem().expect("a name").to_string_lossy();
        if wanted(&name) {
            let text = std::fs::read_to_string(&path).expect("the script can be read");
            lines.extend(parse(&name, &text));
        }
    }
    lines
}

fn parse(file: &str, text: &str) -> Vec<Placed> {
    let mut lines: Vec<Placed> = Vec::new();
    for (at, raw) in text.lines().enumerate() {
        let bad = |why: &str| -> ! { panic!("{file}.session:{}: {why}: {raw}", at + 1) };
        let rest = raw.get(2..).unwrap_or_default().to_owned();
        let line = match raw.get(..2).unwrap_or(raw) {
            "" | "# " | "#" => continue,
            "|" | "| " => {
                match lines.last_mut().map(|placed| &mut placed.line) {
                    Some(Line::Step { input, .. }) => {
                        input.push_str(&rest);
                        input.push('\n');
                    }
                    _ => bad("input for no step"),
                }
                continue;
            }
            "$ " => Line::Step {
                args: rest,
                input: String::new(),
            },
            "? " => match rest.rsplit_once(" => ") {
                Some((args, text)) => Line::Until {
                    args: args.to_owned(),
                    text: text.to_owned(),
                },
                None => match rest.strip_suffix(" =>") {
                    Some(args) => Line::Until {
                        args: args.to_owned(),
                        text: String::new(),
                    },
                    None => bad("waits for nothing"),
                },
            },
            "& " if rest == "end" => Line::End,
            "& " => match rest.rsplit_once(" => ") {
                Some((args, count)) => Line::Start {
                    args: args.to_owned(),
                    lines: count.parse().unwrap_or_else(|_| bad("not a count")),
                },
                None => bad("has no end"),
            },
            _ => match raw.split_once(" = ") {
                Some((name, args)) if name.bytes().all(|b| b.is_ascii_uppercase()) => Line::Keep {
                    name: name.to_owned(),
                    args: args.to_owned(),
                },
                _ => bad("not understood"),
            },
        };
        lines.push(Placed {
            file: file.to_owned(),
            number: at + 1,
            line,
        });
    }
    lines
}

/// A command's words.
///
/// # Panics
/// If a quote is not closed.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            ' ' => words.extend(word.take()),
            '\'' | '"' => {
                let held = word.get_or_insert_with(String::new);
                loop {
                    match chars.next() {
                        Some(next) if next == char => break,
                        Some(next) => held.push(next),
                        None => panic!("a quote is not closed: {text}"),
                    }
                }
            }
            other => word.get_or_insert_with(String::new).push(other),
        }
    }
    words.extend(word);
    words
}

#[test]
fn words_are_split_as_a_shell_would() {
    assert_eq!(
        words(r#"get  pods -o 'a b' x="c 'd'"e"#),
        ["get", "pods", "-o", "a b", "x=c 'd'e"]
    );
    assert_eq!(words("a ''"), ["a", ""]);
}
