//! What must hold of a configuration that can be read (`pkg/scheduler/apis/config/validation`,
//! `k8s.io/component-base/config/validation`, and what kube-scheduler finds out only when it builds its
//! frameworks: names and points of plugins). Texts as upstream.

use std::collections::BTreeMap;

use super::args_validate;
use super::known::{POINTS, REMOVED, points_of};
use super::reader::nearest;
use super::types::{API_VERSION, Configuration, ExtenderConfig, LeaderElection};
use crate::scheduler::framework::profile::{DEFAULT_PLUGINS, PluginSet, Point, Profile};

/// The path of a field and what is wrong there.
pub(super) type Finding = (String, String);

/// `Invalid value: …`, as Kubernetes words it.
pub(super) fn invalid(value: impl std::fmt::Display, why: &str) -> String {
    format!("Invalid value: {value}: {why}")
}

/// All mistakes.
pub(super) fn findings(config: &Configuration) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |path: &str, text: String| found.push((path.to_owned(), text));
    if config.client_connection.burst < 0 {
        let text = invalid(config.client_connection.burst, "must be non-negative");
        find("clientConnection.burst", text);
    }
    if config.parallelism <= 0 {
        let why = "should be an integer value greater than zero";
        find("parallelism", invalid(config.parallelism, why));
    }
    let global = config.percentage_of_nodes_to_score;
    if !(0..=100).contains(&global) {
        let text = invalid(global, "not in valid range [0-100]");
        find("percentageOfNodesToScore", text);
    }
    let (initial, max) = (
        config.pod_initial_backoff_seconds,
        config.pod_max_backoff_seconds,
    );
    if initial <= 0 {
        let text = invalid(initial, "must be greater than 0");
        find("podInitialBackoffSeconds", text);
    }
    if max < initial {
        let why = "must be greater than or equal to PodInitialBackoffSeconds";
        find("podMaxBackoffSeconds", invalid(max, why));
    }
    election(&config.leader_election, &mut found);
    profiles(config, &mut found);
    extenders(&config.extenders, &mut found);
    found
}

fn election(election: &LeaderElection, found: &mut Vec<Finding>) {
    if !election.leader_elect {
        return;
    }
    let mut find = |name: &str, text| found.push((format!("leaderElection.{name}"), text));
    for (name, span) in [
        ("leaseDuration", election.lease_duration),
        ("renewDeadline", election.renew_deadline),
        ("retryPeriod", election.retry_period),
    ] {
        if span.is_zero() || span.to_std().is_none() {
            find(name, invalid(span, "must be greater than zero"));
        }
    }
    if election.lease_duration <= election.renew_deadline {
        let text = invalid(
            election.lease_duration,
            "must be greater than `RenewDeadline`",
        );
        find("leaseDuration", text);
    }
    if election.resource_lock != "leases" {
        let text = invalid(
            format_args!("{:?}", election.resource_lock),
            "resourceLock value must be \"leases\"",
        );
        find("resourceLock", text);
    }
}

fn profiles(config: &Configuration, found: &mut Vec<Finding>) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let first = config.profiles.first().map(|p| &p.profile);
    for (i, given) in config.profiles.iter().enumerate() {
        let path = format!("profiles[{i}]");
        let name = given.profile.scheduler_name.as_str();
        if name.is_empty() {
            found.push((format!("{path}.schedulerName"), "Required value".to_owned()));
        } else if let Some(former) = names.insert(name, i) {
            let text = format!("Duplicate value: {name:?} is profiles[{former}] already");
            found.push((format!("{path}.schedulerName"), text));
        }
        if let Some(own) = given.percentage_of_nodes_to_score
            && !(0..=100).contains(&own)
        {
            let text = invalid(own, "not in valid range [0-100]");
            found.push((format!("{path}.percentageOfNodesToScore"), text));
        }
        plugins(&given.profile, &path, found);
        args_validate::findings(&given.profile.args, &path, found);
        if let Some(first) = first
            && queue_sort(first) != queue_sort(&given.profile)
        {
            let text = "must be the same for all profiles".to_owned();
            found.push((format!("{path}.plugins.queueSort"), text));
        }
    }
}

fn queue_sort(profile: &Profile) -> Vec<String> {
    let has = |name: &str| has_point(name, Point::QueueSort);
    let sorters = profile.expand(Point::QueueSort, &has).into_iter();
    sorters.map(|(name, _)| name).collect()
}

fn has_point(name: &str, point: Point) -> bool {
    points_of(name).is_some_and(|points| points.contains(&point))
}

/// Names, points, and what each profile needs.
fn plugins(profile: &Profile, path: &str, found: &mut Vec<Finding>) {
    let path = format!("{path}.plugins");
    check_set(
        &profile.multi_point,
        None,
        &format!("{path}.multiPoint"),
        found,
    );
    for (name, point) in POINTS {
        if let Some(set) = profile.points.get(&point) {
            check_set(set, Some((name, point)), &format!("{path}.{name}"), found);
        }
    }
    let count = |point| {
        let all = profile.expand(point, &|name| has_point(name, point));
        all.len()
    };
    let sorters = count(Point::QueueSort);
    if sorters != 1 {
        let text = format!(
            "only one queue sort plugin required for profile with scheduler name {:?}, but got {sorters}",
            profile.scheduler_name
        );
        found.push((format!("{path}.queueSort"), text));
    }
    if count(Point::Bind) == 0 {
        let text = format!(
            "at least one bind plugin is needed for profile with scheduler name {:?}",
            profile.scheduler_name
        );
        found.push((format!("{path}.bind"), text));
    }
}

/// `point`: `None` for multiPoint.
fn check_set(set: &PluginSet, point: Option<(&str, Point)>, path: &str, found: &mut Vec<Finding>) {
    for (i, (name, _)) in set.enabled.iter().enumerate() {
        let at = |text: String| {
            // multiPoint was merged with the default list: its indexes are not the file's.
            let path = if point.is_some() {
                format!("{path}.enabled[{i}]")
            } else {
                path.to_owned()
            };
            (path, text)
        };
        if REMOVED.contains(&name.as_str()) {
            let why = format!(
                "was invalid in version {API_VERSION:?} (KubeSchedulerConfiguration is version {API_VERSION:?})"
            );
            found.push(at(invalid(format_args!("{name:?}"), &why)));
            continue;
        }
        let Some(points) = points_of(name) else {
            let known: Vec<&str> = DEFAULT_PLUGINS.iter().map(|(known, _)| *known).collect();
            let hint = nearest(name, &known)
                .map(|near| format!("; did you mean {near:?}?"))
                .unwrap_or_default();
            found.push(at(format!("plugin {name:?} does not exist{hint}")));
            continue;
        };
        if let Some((point_name, point)) = point
            && !points.contains(&point)
        {
            found.push(at(format!(
                "plugin {name:?} has no extension point {point_name}"
            )));
        }
        if set.enabled[..i].iter().any(|(former, _)| former == name) {
            found.push(at(format!("plugin {name:?} already registered")));
        }
    }
}

fn extenders(extenders: &[ExtenderConfig], found: &mut Vec<Finding>) {
    let mut managed: Vec<&str> = Vec::new();
    for (i, extender) in extenders.iter().enumerate() {
        let path = format!("extenders[{i}]");
        let mut find = |name: &str, text| found.push((format!("{path}.{name}"), text));
        if extender.url_prefix.is_empty() {
            find("urlPrefix", "Required value".to_owned());
        }
        if !extender.prioritize_verb.is_empty() && extender.weight <= 0 {
            let text = invalid(extender.weight, "must have a positive weight applied to it");
            find("weight", text);
        }
        if extender.http_timeout.to_std().is_none() {
            find(
                "httpTimeout",
                invalid(extender.http_timeout, "must not be negative"),
            );
        }
        for (j, resource) in extender.managed_resources.iter().enumerate() {
            let name = format!("managedResources[{j}].name");
            let quoted = format!("{:?}", resource.name);
            if let Some(why) = not_qualified(&resource.name) {
                find(&name, invalid(&quoted, why));
            } else if !is_extended(&resource.name) {
                find(
                    &name,
                    invalid(&quoted, "is an invalid extended resource name"),
                );
            }
            if managed.contains(&resource.name.as_str()) {
                find(
                    &name,
                    invalid(&quoted, "duplicate extender managed resource name"),
                );
            }
            managed.push(&resource.name);
        }
    }
    let binders = extenders.iter().filter(|e| !e.bind_verb.is_empty()).count();
    if binders > 1 {
        let what = format!("\"found {binders} extenders implementing bind\"");
        let text = invalid(what, "only one extender can implement bind");
        found.push(("extenders".to_owned(), text));
    }
}

/// `IsExtendedResourceName`: of a domain of its own, and no quota of one.
fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native && !name.starts_with("requests.")
}

/// Why a name is no qualified name (`IsQualifiedName`), if it is none.
pub(super) fn not_qualified(name: &str) -> Option<&'static str> {
    let (prefix, part) = match name.split_once('/') {
        None => (None, name),
        Some((_, rest)) if rest.contains('/') => {
            return Some(
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', with an \
                 optional DNS subdomain prefix and '/'",
            );
        }
        Some((prefix, part)) => (Some(prefix), part),
    };
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edges = |text: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(text.chars().next()) && edge(text.chars().next_back())
    };
    if part.is_empty() {
        return Some("name part must be non-empty");
    }
    if part.len() > 63 {
        return Some("name part must be no more than 63 characters");
    }
    if !part.chars().all(inner) || !edges(part) {
        return Some(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
             with an alphanumeric character",
        );
    }
    let label = |text: &str| {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !text.is_empty() && text.chars().all(letters) && edges(text)
    };
    match prefix {
        Some("") => Some("prefix part must be non-empty"),
        Some(prefix) if prefix.len() > 253 || !prefix.split('.').all(label) => {
            Some("prefix part must be a lowercase RFC 1123 subdomain")
        }
        _ => None,
    }
}
