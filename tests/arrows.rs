//! Holds the arrows of the design: reads the paths that each module names and refuses those that point the
//! wrong way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may name of the others. What is not listed here is an error.
const ARROWS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("telemetry", &["clock"]),
    ("model", &[]),
    ("cluster", &["clock", "model"]),
    ("store", &["clock", "model"]),
    ("scheduler", &["clock", "cluster", "model", "store"]),
    ("actions", &["clock", "cluster", "model", "store"]),
    (
        "kube",
        &["actions", "clock", "cluster", "model", "scheduler"],
    ),
    (
        "api",
        &[
            "actions",
            "clock",
            "model",
            "scheduler",
            "store",
            "telemetry",
        ],
    ),
    (
        "app",
        &[
            "actions",
            "api",
            "clock",
            "cluster",
            "kube",
            "model",
            "scheduler",
            "store",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "actions",
            "api",
            "app",
            "clock",
            "cluster",
            "kube",
            "model",
            "sandbox",
            "scheduler",
            "store",
            "telemetry",
        ],
    ),
    ("sandbox", &["clock"]),
    ("main", &["cli"]),
];

/// Crates that one part of the house keeps to itself.
const GUARDED: &[(&str, &[&str])] = &[
    // The sandbox's controllers and kubelets are clients of an API server, as real ones are.
    ("::kube::", &["kube/", "sandbox/", "cli/"]),
    ("redis::", &["store/redis"]),
    ("petgraph::", &["actions/"]),
    ("axum::", &["api/", "app/", "sandbox/", "cli/"]),
    ("reqwest::", &["cli/", "app/extender"]),
    ("std::time::Instant", &["clock.rs"]),
    ("SystemTime", &["clock.rs"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The product's lines of a file: no comments, and nothing from the tests' module on.
fn product(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut all = text.lines().enumerate().peekable();
    while let Some((number, line)) = all.next() {
        let next_is_module = all.peek().is_some_and(|(_, next)| {
            let next = next.trim_start();
            next.starts_with("mod ") && next.ends_with('{')
        });
        if line.trim() == "#[cfg(test)]" && next_is_module {
            break;
        }
        // Comments and texts name what they like.
        let code = line
            .split("//")
            .next()
            .unwrap_or_default()
            .split('"')
            .step_by(2)
            .collect::<String>();
        lines.push((number + 1, code.to_owned()));
    }
    lines
}

/// The modules of this crate that a line names: `crate::x`, and each of `crate::{x, y}`.
fn named(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in line.split("crate::").skip(1) {
        if let Some(list) = part.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut word)),
                    c if depth == 0 => word.push(c),
                    _ => {}
                }
            }
            found.push(word);
        } else {
            found.push(part.to_owned());
        }
    }
    found
        .iter()
        .map(|word| {
            word.trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        })
        .filter(|word| !word.is_empty() && word.starts_with(char::is_lowercase))
        .collect()
}

fn module_of(relative: &str) -> String {
    relative
        .split('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".rs")
        .to_owned()
}

#[test]
fn dependencies_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let relative = file
            .strip_prefix(&root)
            .expect("below src")
            .display()
            .to_string();
        let module = module_of(&relative);
        if module == "lib" {
            continue;
        }
        let Some(allowed) = arrows.get(module.as_str()) else {
            wrong.push(format!(
                "src/{relative}: the module {module} has no arrows in this test"
            ));
            continue;
        };
        for (number, line) in product(&fs::read_to_string(&file).expect("readable")) {
            for target in named(&line) {
                if target != module && !allowed.contains(&target.as_str()) {
                    wrong.push(format!("src/{relative}:{number}: {module} names {target}"));
                }
                if module == "kube"
                    && ["actions", "scheduler"].contains(&target.as_str())
                    && !line.contains(&format!("{target}::ports"))
                {
                    wrong.push(format!(
                        "src/{relative}:{number}: kube names more than {target}::ports"
                    ));
                }
            }
            for (word, homes) in GUARDED {
                let at_home = homes.iter().any(|home| relative.starts_with(home));
                let is_word = line.match_indices(word).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                if !at_home && is_word {
                    wrong.push(format!(
                        "src/{relative}:{number}: {word} belongs to {homes:?}"
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that point the wrong way:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_reader_sees_what_it_must() {
    assert_eq!(named("use crate::model::Pod;"), ["model"]);
    assert_eq!(
        named("use crate::{clock, store::{self, Store}};"),
        ["clock", "store"]
    );
    assert_eq!(
        named("    let x = crate::kube::y(crate::api::z);"),
        ["kube", "api"]
    );
    let text = "use a;\n#[cfg(test)]\nmod tests {\nuse crate::x;\n";
    assert_eq!(product(text).len(), 1);
}
