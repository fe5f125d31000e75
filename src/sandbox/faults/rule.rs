//! What one rule says: whom it meets, and with what.

use std::fmt;
use std::time::Duration;

/// A kind of bad weather.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The request waits, between the two, before anything else happens. It does not keep other rules
    /// from meeting it.
    Latency(Duration, Duration),
    /// 409: somebody else was faster. Nobody was.
    Conflict,
    /// 429, with `Retry-After`.
    Overload {
        /// In whole seconds.
        retry_after: u64,
        /// A Status (as the watch cache says it) instead of bare text (as priority and fairness says it).
        status: bool,
    },
    /// 500, 503 or 504.
    Trouble {
        /// Which.
        code: u16,
        /// The request is carried out all the same.
        done: bool,
        /// `Retry-After` in whole seconds (503).
        retry_after: u64,
    },
    /// 410 Expired.
    Expired {
        /// Of watches: as HTTP status instead of an event of the stream.
        http: bool,
        /// Of watches: when.
        after: After,
    },
    /// A watch ends without a word.
    Cut {
        /// When.
        after: After,
        /// In the middle of an event's line, with the connection, instead of properly.
        torn: bool,
    },
    /// A list is answered from the past.
    Stale {
        /// By how many revisions.
        behind: u64,
        /// Also where Kubernetes promises the newest state: no real server does that.
        quorum: bool,
    },
    /// The request is carried out; the connection breaks instead of the answer.
    LostReply,
    /// The connection breaks; the request is not carried out.
    Reset,
    /// Nobody listens.
    Refused,
}

/// When a watch is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// After so many events.
    Events(u64),
    /// After so long.
    Time(Duration),
}

/// What a rule is about, in a request's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All resources and their subresources.
    Everything,
    /// A resource; each part `None` if any will do.
    Resource {
        /// API group.
        group: Option<String>,
        /// Plural name.
        resource: Option<String>,
        /// Subresource; empty for the object itself.
        subresource: Option<String>,
    },
    /// What is no resource, by its path; `*` stands for anything.
    Path(String),
}

/// Whom a rule meets. Empty lists mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Kubernetes' verbs.
    pub verbs: Vec<&'static str>,
    /// What is asked for.
    pub targets: Vec<Target>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Name of the object, with `*` for anything.
    pub name: Option<String>,
    /// User agent, with `*` for anything.
    pub agent: Option<String>,
}

/// How often a rule strikes.
#[derive(Clone, Debug, PartialEq)]
pub struct Common {
    /// From 0 to 1.
    pub probability: f64,
    /// So many requests pass first.
    pub skip: u64,
    /// At most so many times.
    pub count: Option<u64>,
    /// For so long from when it was set.
    pub lasting: Option<Duration>,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            probability: 1.0,
            skip: 0,
            count: None,
            lasting: None,
        }
    }
}

/// One rule. Its text ([`std::str::FromStr`], [`fmt::Display`]) is the line that [`super::GRAMMAR`] describes.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Whom it meets.
    pub selector: Selector,
    /// With what.
    pub fault: Fault,
    /// How often.
    pub common: Common,
}

impl Fault {
    /// Its word in a rule.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Latency(..) => "latency",
            Self::Conflict => "409",
            Self::Overload { .. } => "429",
            Self::Trouble { code: 503, .. } => "503",
            Self::Trouble { code: 504, .. } => "504",
            Self::Trouble { .. } => "500",
            Self::Expired { .. } => "410",
            Self::Cut { .. } => "cut",
            Self::Stale { .. } => "stale",
            Self::LostReply => "lost-reply",
            Self::Reset => "reset",
            Self::Refused => "refused",
        }
    }

    /// The verbs that it can happen to; empty means all.
    pub(super) fn verbs(&self) -> &'static [&'static str] {
        match self {
            // Creating meets conflicts at subresources (pods/binding, pods/eviction).
            Self::Conflict => &["create", "update", "patch", "delete"],
            Self::Expired { .. } => &["list", "watch"],
            Self::Cut { .. } => &["watch"],
            Self::Stale { .. } => &["list"],
            // A watch has no one answer to lose.
            Self::LostReply | Self::Trouble { done: true, .. } => &[
                "get",
                "list",
                "create",
                "update",
                "patch",
                "delete",
                "deletecollection",
            ],
            _ => &[],
        }
    }
}

/// The largest unit in which the duration is a whole number.
fn short(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else if duration.subsec_nanos().is_multiple_of(1_000_000) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}us", duration.as_micros())
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events(count) => write!(f, "{count}"),
            Self::Time(time) => f.write_str(&short(*time)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Path(path) => f.write_str(path),
            Self::Resource {
                group,
                resource,
                subresource,
            } => {
                f.write_str(resource.as_deref().unwrap_or("*"))?;
                if let Some(group) = group {
                    write!(f, ".{group}")?;
                }
                match subresource.as_deref() {
                    Some("") => Ok(()),
                    Some(sub) => write!(f, "/{sub}"),
                    None => f.write_str("/*"),
                }
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Latency(low, high) if low == high => write!(f, "={}", short(*low)),
            Self::Latency(low, high) => write!(f, "={}..{}", short(*low), short(*high)),
            Self::Overload {
                retry_after,
                status,
            } => {
                write!(f, " retry-after={retry_after}s")?;
                f.write_str(if *status { " body=status" } else { "" })
            }
            Self::Trouble {
                code,
                done,
                retry_after,
            } => {
                if *code == 503 {
                    write!(f, " retry-after={retry_after}s")?;
                }
                f.write_str(if *done { " done=true" } else { "" })
            }
            Self::Expired { http: true, .. } => f.write_str(" as=http"),
            Self::Expired { after, .. } => write!(f, " after={after}"),
            Self::Cut { after, torn } => {
                write!(f, " after={after}")?;
                f.write_str(if *torn { " torn=true" } else { "" })
            }
            Self::Stale { behind, quorum } => {
                write!(f, " behind={behind}")?;
                f.write_str(if *quorum { " quorum=true" } else { "" })
            }
            Self::Conflict | Self::LostReply | Self::Reset | Self::Refused => Ok(()),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.selector;
        let targets: Vec<String> = s.targets.iter().map(Target::to_string).collect();
        let or_all = |texts: String| {
            if texts.is_empty() {
                "*".to_owned()
            } else {
                texts
            }
        };
        write!(
            f,
            "{} {} {}",
            or_all(s.verbs.join(",")),
            or_all(targets.join(",")),
            self.fault
        )?;
        if !s.namespaces.is_empty() {
            write!(f, " ns={}", s.namespaces.join(","))?;
        }
        for (key, value) in [("name", &s.name), ("agent", &s.agent)] {
            if let Some(value) = value {
                write!(f, " {key}={value}")?;
            }
        }
        let c = &self.common;
        if c.probability < 1.0 {
            write!(f, " p={}", c.probability)?;
        }
        if c.skip > 0 {
            write!(f, " skip={}", c.skip)?;
        }
        if let Some(count) = c.count {
            write!(f, " count={count}")?;
        }
        if let Some(lasting) = c.lasting {
            write!(f, " for={}", short(lasting))?;
        }
        Ok(())
    }
}
