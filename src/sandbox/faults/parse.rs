//! Reading rules: one line each, or a file of them. Strict: what would never strike is refused.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::rule::{After, Common, Fault, Rule, Selector, Target};
use crate::sandbox::types::{ResourceFacts, table};

const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];
const FAULTS: &str =
    "latency=…, 409, 410, 429, 500, 503, 504, cut, stale, lost-reply, reset, refused";

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line that is wrong.
    #[error("fault {line:?}: {problem}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that is neither lines nor YAML with a list of lines.
    #[error("{0}")]
    File(String),
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        parse(line).map_err(|problem| Error::Line {
            line: line.trim().to_owned(),
            problem,
        })
    }
}

/// Rules of a text: a line each (empty lines and `#` comments are passed over), or YAML or JSON: a list of
/// lines, or a map with the list under `faults`, whose entries may also be maps with the line under `fault`.
///
/// # Errors
/// The first one that is wrong.
pub fn rules(text: &str) -> Result<Vec<Rule>, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Line(String),
        /// As it is answered: what else is in it is what was counted.
        Counted {
            fault: String,
        },
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum File {
        List(Vec<Entry>),
        Map { faults: Vec<Entry> },
    }
    let first = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(first) = first else {
        return Ok(Vec::new());
    };
    let structured = first.starts_with(['{', '[', '-']) || first.starts_with("faults:");
    if !structured {
        return text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim())
            .filter(|line| !line.is_empty())
            .map(str::parse)
            .collect();
    }
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        Error::File(format!(
            "neither lines nor a list of lines under \"faults\": {error}"
        ))
    })?;
    let (File::List(entries) | File::Map { faults: entries }) = file;
    entries
        .iter()
        .map(|(Entry::Line(line) | Entry::Counted { fault: line })| line.parse())
        .collect()
}

fn parse(line: &str) -> Result<Rule, String> {
    let mut words = line.split_whitespace();
    let (Some(verbs), Some(targets), Some(fault)) = (words.next(), words.next(), words.next())
    else {
        return Err("it needs verbs, resources and a fault, such as: patch deployments 429".into());
    };
    let mut options = Options(BTreeMap::new());
    for word in words {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| format!("{word:?} is no option; write OPTION=VALUE"))?;
        if options.0.insert(key, value).is_some() {
            return Err(format!("{key} is given twice"));
        }
    }
    let fault = read_fault(fault, &mut options)?;
    let common = Common {
        probability: options.take("p", probability)?.unwrap_or(1.0),
        skip: options.take("skip", number)?.unwrap_or(0),
        count: options.take("count", number)?,
        lasting: options.take("for", duration)?,
    };
    let list = |text: &str| Ok(text.split(',').map(str::to_owned).collect::<Vec<_>>());
    let text = |text: &str| Ok(text.to_owned());
    let selector = Selector {
        verbs: read_verbs(verbs, &fault)?,
        targets: read_targets(targets)?,
        namespaces: options.take("ns", list)?.unwrap_or_default(),
        name: options.take("name", text)?,
        agent: options.take("agent", text)?,
    };
    if let Some((key, _)) = options.0.first_key_value() {
        return Err(format!("{} has no option {key:?}", fault.name()));
    }
    if fault == Fault::Refused
        && (selector != Selector::default()
            || common.probability < 1.0
            || common.skip > 0
            || common.count.is_some())
    {
        return Err("nobody listens, or somebody does: write it as: * * refused [for=5s]".into());
    }
    never_met(&selector, &fault)?;
    Ok(Rule {
        selector,
        fault,
        common,
    })
}

struct Options<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Options<'a> {
    fn take<T>(
        &mut self,
        key: &str,
        read: impl Fn(&'a str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.0
            .remove(key)
            .map(|value| match value {
                "" => Err("it is empty".to_owned()),
                value => read(value),
            })
            .transpose()
            .map_err(|problem| format!("{key}: {problem}"))
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        let read = |text: &str| text.parse().map_err(|_| "write true or false".to_owned());
        Ok(self.take(key, read)?.unwrap_or(false))
    }
}

fn read_fault(word: &str, options: &mut Options<'_>) -> Result<Fault, String> {
    let after = |options: &mut Options<'_>, default| {
        Ok::<_, String>(options.take("after", read_after)?.unwrap_or(default))
    };
    let (name, value) = word
        .split_once('=')
        .map_or((word, None), |(name, value)| (name, Some(value)));
    if name == "latency" {
        let value = value.ok_or("say how long: latency=200ms, or latency=50ms..2s")?;
        let (low, high) = value.split_once("..").unwrap_or((value, value));
        let (low, high) = (duration(low)?, duration(high)?);
        if low > high {
            return Err(format!("{value}: the first is the longer one"));
        }
        return Ok(Fault::Latency(low, high));
    }
    if value.is_some() {
        return Err(format!(
            "{name} takes its options after it: {name} OPTION=VALUE"
        ));
    }
    Ok(match name {
        "409" => Fault::Conflict,
        "429" => {
            let retry_after = options.take("retry-after", seconds)?.unwrap_or(1);
            let read = |text: &str| match text {
                "text" => Ok(false),
                "status" => Ok(true),
                _ => Err("write text or status".to_owned()),
            };
            let status = options.take("body", read)?.unwrap_or(false);
            Fault::Overload {
                retry_after,
                status,
            }
        }
        "500" | "504" => Fault::Trouble {
            code: if name == "500" { 500 } else { 504 },
            done: options.flag("done")?,
            retry_after: 0,
        },
        "503" => Fault::Trouble {
            code: 503,
            done: false,
            retry_after: options.take("retry-after", seconds)?.unwrap_or(1),
        },
        "410" => {
            let read = |text: &str| match text {
                "event" => Ok(false),
                "http" => Ok(true),
                _ => Err("write event or http".to_owned()),
            };
            let http = options.take("as", read)?.unwrap_or(false);
            if http && options.0.contains_key("after") {
                return Err("with as=http there is no stream to be ended after something".into());
            }
            let after = after(options, After::Events(0))?;
            Fault::Expired { http, after }
        }
        "cut" => Fault::Cut {
            after: after(options, After::Events(1))?,
            torn: options.flag("torn")?,
        },
        "stale" => Fault::Stale {
            behind: options.take("behind", number)?.unwrap_or(10),
            quorum: options.flag("quorum")?,
        },
        "lost-reply" => Fault::LostReply,
        "reset" => Fault::Reset,
        "refused" => Fault::Refused,
        other => return Err(format!("there is no fault {other:?}; there are {FAULTS}")),
    })
}

fn read_verbs(text: &str, fault: &Fault) -> Result<Vec<&'static str>, String> {
    let mut verbs: Vec<&'static str> = Vec::new();
    for word in text.split(',') {
        match word {
            "*" if text == "*" => return Ok(Vec::new()),
            "read" => verbs.extend(&VERBS[..3]),
            "write" => verbs.extend(&VERBS[3..]),
            word => match VERBS.iter().find(|verb| **verb == word) {
                Some(verb) => verbs.push(verb),
                None => {
                    return Err(format!(
                        "there is no verb {word:?}; there are {}, read, write, *",
                        VERBS.join(", ")
                    ));
                }
            },
        }
    }
    let possible = fault.verbs();
    if !possible.is_empty() && !verbs.iter().any(|verb| possible.contains(verb)) {
        return Err(format!(
            "{} happens only to {}",
            fault.name(),
            possible.join(", ")
        ));
    }
    verbs.dedup();
    Ok(verbs)
}

fn read_targets(text: &str) -> Result<Vec<Target>, String> {
    if text == "*" {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|word| {
            if word.starts_with('/') {
                return Ok(Target::Path(word.to_owned()));
            }
            if word == "*" {
                return Ok(Target::Everything);
            }
            let (name, sub) = word.split_once('/').unwrap_or((word, ""));
            let (resource, group) = name
                .split_once('.')
                .map_or((name, None), |(name, group)| (name, Some(group)));
            if resource.is_empty() {
                return Err(format!("{word:?} names no resource"));
            }
            // What is in no group of ours may be a custom resource.
            let custom = group.is_some_and(|group| facts().all(|f| f.group != group));
            if resource != "*" && !custom {
                known(resource, group, sub)?;
            }
            Ok(Target::Resource {
                group: group.map(str::to_owned),
                resource: (resource != "*").then(|| resource.to_owned()),
                subresource: (sub != "*").then(|| sub.to_owned()),
            })
        })
        .collect()
}

fn facts() -> impl Iterator<Item = &'static ResourceFacts> {
    table().resources().iter()
}

fn known(resource: &str, group: Option<&str>, sub: &str) -> Result<(), String> {
    let found: Vec<_> = facts()
        .filter(|f| f.name == resource && group.is_none_or(|group| group == f.group))
        .collect();
    if found.is_empty() {
        let meant = facts().find(|f| {
            f.singular == resource
                || f.kind.eq_ignore_ascii_case(resource)
                || f.short_names.iter().any(|short| short == resource)
        });
        return Err(match meant {
            Some(meant) => format!(
                "there is no resource {resource:?}; did you mean {:?}?",
                meant.name
            ),
            None => format!("there is no resource {resource:?}"),
        });
    }
    let has_sub = |f: &&&ResourceFacts| f.subresource(sub).is_some();
    if !sub.is_empty() && sub != "*" && !found.iter().any(|f| has_sub(&f)) {
        return Err(format!("{resource} has no subresource {sub:?}"));
    }
    Ok(())
}

/// Refuses rules that no request can meet: `patch pods/binding …`.
fn never_met(selector: &Selector, fault: &Fault) -> Result<(), String> {
    for target in &selector.targets {
        let Target::Resource {
            group,
            resource: Some(resource),
            subresource: Some(sub),
        } = target
        else {
            continue;
        };
        let mut verbs: Vec<&str> = facts()
            .filter(|f| f.name == *resource && group.as_ref().is_none_or(|group| *group == f.group))
            .filter_map(|f| match sub.as_str() {
                "" => Some(&f.verbs),
                sub => f.subresource(sub).map(|s| &s.verbs),
            })
            .flatten()
            .map(String::as_str)
            .collect();
        let custom = verbs.is_empty();
        if sub.is_empty() && *fault == Fault::Conflict {
            verbs.retain(|verb| *verb != "create");
        }
        let meets = |verb: &&str| {
            (selector.verbs.is_empty() || selector.verbs.contains(verb))
                && (fault.verbs().is_empty() || fault.verbs().contains(verb))
        };
        if !custom && !verbs.iter().any(meets) {
            return Err(format!("{target} knows only {}", verbs.join(", ")));
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no whole number"))
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(p) if (0.0..=1.0).contains(&p) => Ok(p),
        _ => Err(format!(
            "{text:?} is no probability; write a number from 0 to 1"
        )),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let hint = || format!("{text:?} is no duration; write it like 500ms, 15s or 2m");
    let signed: jiff::SignedDuration = text.parse().map_err(|_| hint())?;
    Duration::try_from(signed).map_err(|_| hint())
}

/// `Retry-After` knows whole seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let duration = duration(text)?;
    if duration.subsec_nanos() != 0 || duration.is_zero() {
        return Err(format!(
            "{text:?}: Retry-After is in whole seconds, at least one"
        ));
    }
    Ok(duration.as_secs())
}

fn read_after(text: &str) -> Result<After, String> {
    match text.parse() {
        Ok(events) => Ok(After::Events(events)),
        Err(_) => duration(text).map(After::Time).map_err(|_| {
            format!("{text:?} is neither a number of events nor a time like 500ms or 5s")
        }),
    }
}
