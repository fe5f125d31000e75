//! Takes out of an answer what cannot be the same on two clusters: ids, times, random names, addresses.
//!
//! What is named is named anew in the order in which it is first seen (`UID-1`, `UID-2`, …), so that two
//! answers that speak of one object still do, and two that mix objects up are found out.

use std::collections::HashMap;

use regex::{Captures, Regex};

/// One side's names; both sides name in the order of the same steps.
#[derive(Debug)]
pub struct Normal {
    names: HashMap<String, String>,
    counts: HashMap<String, usize>,
    rules: Vec<(Regex, Rule)>,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    /// This text in its place (`$1` stands for what a group matched).
    Text(&'static str),
    /// A name of this class for the group `id`, counted among those that follow the same `base`; the
    /// rest stays.
    Name(&'static str),
}

/// `SafeEncodeString` and `rand.String` write with these letters only.
const SAFE: &str = "[bcdfghjklmnpqrstvwxz2456789]";

impl Normal {
    pub fn new() -> Self {
        let rules = [
            (r#""127\.0\.0\.1:\d+""#, Rule::Text("\"SERVER\"")),
            (
                r"https?://(127\.0\.0\.1|localhost):\d+",
                Rule::Text("SERVER"),
            ),
            (r"/tmp/(LIVE|MERGED)-\d+", Rule::Text("/tmp/$1")),
            (
                r"containerd://(?P<id>[0-9a-f]{64})",
                Rule::Name("CONTAINER"),
            ),
            (r"current: \d+", Rule::Text("current: RV")),
            // kubectl's own log, which it writes when a watch of its own is cut.
            (r"(?m)^! [EWI]\d{4} .*\n", Rule::Text("")),
            (r"X509SHA256=[0-9a-f]{64}", Rule::Text("X509SHA256")),
            // Who is asked for a node's address, and what he says, is the machine's affair.
            (r"dial tcp: lookup .*", Rule::Text("dial tcp: lookup")),
            // Of `diff`: the files' times.
            (r"(?m)^((?:---|\+\+\+) \S+)\t.*$", Rule::Text("$1")),
            (
                r"(?s)-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----",
                Rule::Text("PEM"),
            ),
            (r"\beyJ[\w-]{20,}(\.[\w-]+)*", Rule::Text("TOKEN")),
            (
                r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
                Rule::Name("UID"),
            ),
            (
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
                Rule::Text("MICROTIME"),
            ),
            (
                r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)",
                Rule::Text("TIME"),
            ),
            (
                r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
                Rule::Text("DATE"),
            ),
            (r#"([rR]esourceVersion"?[:=] ?"?)\d+"#, Rule::Text("${1}RV")),
            // How often an event came is a matter of speed.
            (r" \(x\d+ over [0-9a-z]+\)", Rule::Text("")),
            (
                r"(?m)(^|[ (])(?:\d+d)?(?:\d+h)?(?:\d+m)?\d+(?:s|m|h|d)( ago)?($|[ )])",
                Rule::Text("${1}AGE$2$3"),
            ),
            (
                r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} UTC",
                Rule::Text("DATE"),
            ),
            // Of `describe lease`.
            (r"(Resource Version:\s+)\d+", Rule::Text("${1}RV")),
            (r"\b10\.\d+\.\d+\.\d+\b", Rule::Text("IP")),
            (r"\b3[0-2]\d{3}\b", Rule::Text("PORT")),
            // How far a rollout has come when one looks is a matter of speed.
            (
                r"(?m)^(Waiting for .*(rollout|update|replicas|pods).*|partitioned roll out.*)\n",
                Rule::Text(""),
            ),
            // A job of a cron job is named by the minute, an event by its object and a time.
            (r"-\d{8}\b", Rule::Text("-MINUTE")),
            (
                r"(?P<base>[\w.-]+)\.(?P<id>[0-9a-f]{14,16})\b",
                Rule::Name("EVENT"),
            ),
            (
                r"(?P<base>[\w.-]+)-(?P<id>SAFE{8,10})\b",
                Rule::Name("HASH"),
            ),
            (
                r#"(?:pod-template-hash|controller-revision-hash)["=: ]+(?P<id>SAFE{8,10})\b"#,
                Rule::Name("HASH"),
            ),
            (r"(?P<base>[\w.-]+)-(?P<id>SAFE{5})\b", Rule::Name("RANDOM")),
        ];
        Self {
            names: HashMap::new(),
            counts: HashMap::new(),
            rules: rules
                .map(|(pattern, rule)| {
                    let pattern = pattern.replace("SAFE", SAFE);
                    (Regex::new(&pattern).expect("a pattern"), rule)
                })
                .into(),
        }
    }

    /// An answer without what cannot be compared.
    pub fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (pattern, rule) in &self.rules {
            text = match rule {
                // Twice: neighbours share the blank between them.
                Rule::Text(with) => {
                    let once = pattern.replace_all(&text, *with).into_owned();
                    pattern.replace_all(&once, *with).into_owned()
                }
                Rule::Name(class) => {
                    let (names, counts) = (&mut self.names, &mut self.counts);
                    let rename = |found: &Captures<'_>| {
                        let id = found.name("id").expect("every pattern has it").as_str();
                        let name = names.entry(id.to_owned()).or_insert_with(|| {
                            let base = found.name("base").map_or("", |base| base.as_str());
                            let count = counts.entry(format!("{base} {class}")).or_default();
                            *count += 1;
                            format!("{class}{count}")
                        });
                        found[0].replace(id, name)
                    };
                    pattern.replace_all(&text, rename).into_owned()
                }
            };
        }
        let mut lines: Vec<String> = text.lines().map(columns).map(old_sets).collect();
        sort_events(&mut lines);
        sort_rows(&mut lines);
        lines.join("\n")
    }
}

/// Lists come in the order of names: rows with random ones are sorted by what stands for these.
fn sort_rows(lines: &mut [String]) {
    let is_row = |line: &String| !line.starts_with(' ') && line.contains("RANDOM");
    for run in lines.chunk_by_mut(|a, b| is_row(a) == is_row(b)) {
        if is_row(&run[0]) {
            run.sort();
        }
    }
}

/// `describe deployment` lists the old ReplicaSets by their names, which are hashes.
fn old_sets(line: String) -> String {
    let Some(sets) = line.strip_prefix("OldReplicaSets:  ") else {
        return line;
    };
    let mut sets: Vec<&str> = sets.split(", ").collect();
    sets.sort_unstable();
    format!("OldReplicaSets:  {}", sets.join(", "))
}

/// Events of one second come in any order: neighbouring ones are sorted.
fn sort_events(lines: &mut [String]) {
    let is_event = |line: &String| {
        let line = line.trim_start();
        let line = line.strip_prefix("AGE  ").unwrap_or(line);
        line.starts_with("Normal  ") || line.starts_with("Warning  ")
    };
    for run in lines.chunk_by_mut(|a, b| is_event(a) == is_event(b)) {
        if is_event(&run[0]) {
            run.sort();
        }
    }
}

/// Columns are as wide as their widest cell, which may be a name or an age: two blanks stand for more.
fn columns(line: &str) -> String {
    let body = line.trim_start();
    let mut text = line[..line.len() - body.len()].to_owned();
    let mut blanks = 0;
    for char in body.trim_end().chars() {
        match char {
            ' ' | '\t' => blanks += 1,
            other => {
                text.push_str(&"  "[..blanks.min(2)]);
                blanks = 0;
                text.push(other);
            }
        }
    }
    text
}

#[test]
fn rows_with_random_names_are_compared_in_one_order() {
    let mut normal = Normal::new();
    normal.text("pod/web-5d4b8c9f7d-x2k4p");
    normal.text("pod/web-5d4b8c9f7d-b2k4p");
    assert_eq!(
        normal.text("NAME\nweb-5d4b8c9f7d-b2k4p  0/1\nweb-5d4b8c9f7d-x2k4p  1/1"),
        "NAME\nweb-HASH1-RANDOM1  1/1\nweb-HASH1-RANDOM2  0/1"
    );
}

#[test]
fn old_sets_are_compared_in_one_order() {
    let line = "OldReplicaSets:   web-b (0/0 replicas created), web-a (0/0 replicas created)";
    assert_eq!(
        Normal::new().text(line),
        "OldReplicaSets:  web-a (0/0 replicas created), web-b (0/0 replicas created)"
    );
}

#[test]
fn names_are_given_in_the_order_of_first_sight() {
    let mut normal = Normal::new();
    let text = "web-5d4b8c9f7d-x2k4p  1/1  Running  0  5m3s   10.1.2.3\n\
                web-5d4b8c9f7d-zzzzz  1/1  Running  0  7s  10.1.2.4";
    assert_eq!(
        normal.text(text),
        "web-HASH1-RANDOM1  1/1  Running  0  AGE  IP\nweb-HASH1-RANDOM2  1/1  Running  0  AGE  IP"
    );
    assert_eq!(
        normal.text("pod/web-5d4b8c9f7d-zzzzz"),
        "pod/web-HASH1-RANDOM2"
    );
    assert_eq!(
        normal.text("uid: 0f3a1b2c-0000-4000-8000-0123456789ab\n  creationTimestamp: \"2026-01-02T03:04:05Z\""),
        "uid: UID1\n  creationTimestamp: \"TIME\""
    );
    assert_eq!(
        normal.text("Killing  3s (x2 over 9s)  kubelet"),
        "Killing  AGE  kubelet"
    );
}
