//! What a request asks for, as rules see it.

use http::request::Parts;
use http::{Method, header};

use super::rule::{Rule, Selector, Target};
use crate::sandbox::apiserver::path::{self, ResourcePath, parse};
use crate::sandbox::apiserver::query::Query;

/// One request.
#[derive(Debug)]
pub(super) struct Asked {
    /// Kubernetes' verb; of what is no resource the method in lower case.
    pub(super) verb: &'static str,
    /// `None`: no resource.
    pub(super) resource: Option<ResourcePath>,
    pub(super) path: String,
    pub(super) query: Query,
    pub(super) agent: String,
}

impl Asked {
    pub(super) fn of(parts: &Parts) -> Self {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let resource = match parse(parts.uri.path()) {
            path::Target::Resource(path) => Some(path),
            _ => None,
        };
        let many = resource.as_ref().is_some_and(|path| path.name.is_empty());
        let watches = resource.as_ref().is_some_and(|path| path.watch)
            || query.flag("watch").unwrap_or(false);
        let verb = match parts.method {
            Method::GET | Method::HEAD if many && watches => "watch",
            Method::GET | Method::HEAD if many => "list",
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if many => "deletecollection",
            Method::DELETE => "delete",
            _ => "",
        };
        let agent = parts.headers.get(header::USER_AGENT);
        Self {
            verb,
            resource,
            path: parts.uri.path().to_owned(),
            query,
            agent: agent
                .and_then(|agent| agent.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// Whether a rule is about this request.
    pub(super) fn is_met_by(&self, rule: &Rule) -> bool {
        let possible = rule.fault.verbs();
        if !possible.is_empty() && !possible.contains(&self.verb) {
            return false;
        }
        let fits = match rule.fault {
            super::Fault::Conflict => self
                .resource
                .as_ref()
                .is_some_and(|path| self.verb != "create" || !path.subresource.is_empty()),
            super::Fault::Stale { quorum, .. } => self.may_be_stale(quorum),
            _ => true,
        };
        fits && self.is_selected(&rule.selector)
    }

    /// Whether the server is free to answer a list from the past: not the later pages of a list, not a
    /// version asked for exactly, and without `resourceVersion` the newest state is promised.
    fn may_be_stale(&self, quorum: bool) -> bool {
        let version = self.query.get("resourceVersion");
        self.query.get("continue").is_empty()
            && self.query.get("resourceVersionMatch") != "Exact"
            && (quorum || !version.is_empty())
    }

    fn is_selected(&self, selector: &Selector) -> bool {
        let namespace = self.resource.as_ref().map_or("", |path| &path.namespace);
        let name = self.resource.as_ref().map_or("", |path| &path.name);
        let glob = |pattern: &Option<String>, text: &str| {
            pattern
                .as_ref()
                .is_none_or(|pattern| matches(pattern, text))
        };
        (selector.verbs.is_empty() || selector.verbs.contains(&self.verb))
            && self.is_at(&selector.targets)
            && (selector.namespaces.is_empty()
                || selector.namespaces.iter().any(|n| n == namespace))
            && glob(&selector.name, name)
            && glob(&selector.agent, &self.agent)
    }

    fn is_at(&self, targets: &[Target]) -> bool {
        let Some(path) = &self.resource else {
            return targets
                .iter()
                .any(|target| matches!(target, Target::Path(path) if matches(path, &self.path)));
        };
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        targets.is_empty()
            || targets.iter().any(|target| match target {
                Target::Everything => true,
                Target::Path(pattern) => matches(pattern, &self.path),
                Target::Resource {
                    group,
                    resource,
                    subresource,
                } => {
                    is(group, &path.group)
                        && is(resource, &path.resource)
                        && is(subresource, &path.subresource)
                }
            })
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.path)
    }
}

/// Whether a text is as the pattern says, in which `*` stands for anything.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    // `split` gives at least one part.
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            match rest.find(before) {
                Some(at) => rest = &rest[at + before.len()..],
                None => return false,
            }
        }
    }
    match last {
        Some(end) => rest.ends_with(end),
        None => rest.is_empty(),
    }
}
