//! What an account was granted, and what it used, by the API server's own audit log.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::kubectl::kubectl_json;

/// A right, granted or used. Empty strings: the core group, no subresource; `namespace` empty: the whole cluster;
/// `name` empty: of any name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    pub verb: String,
    pub group: String,
    /// With its subresource: `pods/binding`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            group,
            resource,
            namespace,
            name,
        } = self;
        let group = if group.is_empty() { "core" } else { group };
        write!(f, "{verb} {group}/{resource}")?;
        if !name.is_empty() {
            write!(f, " {name}")?;
        }
        if namespace.is_empty() {
            write!(f, " (cluster)")
        } else {
            write!(f, " in {namespace}")
        }
    }
}

impl Right {
    /// Whether a request is within this right.
    pub fn covers(&self, request: &Self) -> bool {
        self.verb == request.verb
            && self.group == request.group
            && self.resource == request.resource
            && (self.namespace.is_empty() || self.namespace == request.namespace)
            && (self.name.is_empty() || self.name == request.name)
    }
}

/// What RBAC grants a service account by bindings that name it.
pub fn granted(admin: &Path, namespace: &str, account: &str) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for (bindings, args) in [
        ("clusterrolebindings", &["-o", "json"][..0]),
        ("rolebindings", &["-A"][..]),
    ] {
        let list = kubectl_json(admin, &[&["get", bindings], args].concat());
        for binding in list["items"].as_array().expect("a list") {
            let names_it = binding["subjects"].as_array().is_some_and(|subjects| {
                subjects.iter().any(|subject| {
                    subject["kind"] == "ServiceAccount"
                        && subject["name"] == account
                        && subject["namespace"] == namespace
                })
            });
            if names_it {
                collect(admin, binding, &mut rights);
            }
        }
    }
    rights
}

fn collect(admin: &Path, binding: &Value, rights: &mut BTreeSet<Right>) {
    let scope = binding["metadata"]["namespace"]
        .as_str()
        .unwrap_or_default();
    let role = &binding["roleRef"];
    let name = role["name"].as_str().expect("a name");
    let found = if role["kind"] == "ClusterRole" {
        kubectl_json(admin, &["get", "clusterrole", name])
    } else {
        kubectl_json(admin, &["get", "role", name, "-n", scope])
    };
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().cloned().unwrap_or_default();
        list.iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    };
    for rule in found["rules"].as_array().expect("rules") {
        let mut names = texts(&rule["resourceNames"]);
        if names.is_empty() {
            names.push(String::new());
        }
        for verb in texts(&rule["verbs"]) {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for name in &names {
                        rights.insert(Right {
                            verb: verb.clone(),
                            group: group.clone(),
                            resource: resource.clone(),
                            namespace: scope.to_owned(),
                            name: name.clone(),
                        });
                    }
                }
            }
        }
    }
}

/// What an account asked for as `wam`: what it used, and what it was forbidden.
#[derive(Debug, Default)]
pub struct Asked {
    pub used: BTreeSet<Right>,
    pub forbidden: BTreeSet<String>,
    pub requests: usize,
}

/// Reads the audit log. kubectl with the account's token is not `wam`: tests provoke refusals with it.
pub fn asked(log: &Path, namespace: &str, account: &str) -> Asked {
    let user = format!("system:serviceaccount:{namespace}:{account}");
    let text = std::fs::read_to_string(log).expect("the audit log");
    let mut asked = Asked::default();
    for line in text.lines() {
        // The last line may be half written.
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let agent = event["userAgent"].as_str().unwrap_or_default();
        if event["user"]["username"] != user.as_str() || !agent.starts_with("wam/") {
            continue;
        }
        asked.requests += 1;
        let of = |name: &str| {
            event["objectRef"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let resource = match of("subresource") {
            subresource if subresource.is_empty() => of("resource"),
            subresource => format!("{}/{subresource}", of("resource")),
        };
        let right = Right {
            verb: event["verb"].as_str().unwrap_or_default().to_owned(),
            group: of("apiGroup"),
            resource,
            namespace: of("namespace"),
            name: of("name"),
        };
        let decision = &event["annotations"]["authorization.k8s.io/decision"];
        if event["responseStatus"]["code"] == 403 || decision == "forbid" {
            let why = event["responseStatus"]["message"]
                .as_str()
                .unwrap_or_default();
            asked.forbidden.insert(format!("{right}: {why}"));
        }
        // Not a resource: /readyz, which everybody may read.
        if !right.resource.is_empty() {
            asked.used.insert(right);
        }
    }
    asked
}

/// Demands that an account was forbidden nothing of what it asked for as `wam`; prints the count.
pub fn nothing_forbidden(log: &Path, namespace: &str, account: &str) {
    let asked = asked(log, namespace, account);
    assert!(
        asked.forbidden.is_empty(),
        "{namespace}/{account} was forbidden: {:#?}",
        asked.forbidden
    );
    assert!(
        asked.requests > 0,
        "{namespace}/{account} asked for nothing"
    );
    println!(
        "{namespace}/{account}: {} requests, none forbidden",
        asked.requests
    );
}

/// Demands that an account was forbidden nothing and was granted nothing that it did not use; prints the count.
pub fn compare(admin: &Path, log: &Path, namespace: &str, account: &str) {
    let granted = granted(admin, namespace, account);
    let asked = asked(log, namespace, account);
    assert!(
        asked.forbidden.is_empty(),
        "{account} was forbidden: {:#?}",
        asked.forbidden
    );
    let beyond: Vec<String> = asked
        .used
        .iter()
        .filter(|used| !granted.iter().any(|right| right.covers(used)))
        .map(ToString::to_string)
        .collect();
    assert!(
        beyond.is_empty(),
        "{account} used what its own roles do not grant: {beyond:#?}"
    );
    let unused: Vec<String> = granted
        .iter()
        .filter(|right| !asked.used.iter().any(|used| right.covers(used)))
        .map(ToString::to_string)
        .collect();
    assert!(
        unused.is_empty(),
        "{account} was granted what it never used: {unused:#?}"
    );
    println!(
        "{namespace}/{account}: {} requests, {} rights granted, all of them used, none forbidden",
        asked.requests,
        granted.len()
    );
}
