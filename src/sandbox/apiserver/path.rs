//! What a request's path names, as `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go` reads it.

use super::query::unescape;

/// A path below `/api/<version>` or `/apis/<group>/<version>` that names a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty: all namespaces, or a cluster-scoped resource.
    pub(crate) namespace: String,
    /// Plural.
    pub(crate) resource: String,
    /// Empty for collections.
    pub(crate) name: String,
    /// Empty for the object itself. What follows it (proxy paths) is joined by slashes.
    pub(crate) subresource: String,
    /// The old way to ask for a watch, by a segment after the version.
    pub(crate) watch: bool,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/healthz`, `/livez`, `/readyz` and what is below them.
    Health,
    Version,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/<group>`.
    Group(String),
    /// `/api/<version>`, `/apis/<group>/<version>`.
    Resources(String, String),
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/<api/v1 | apis/<group>/<version>>`.
    OpenApi(String, String),
    Resource(ResourcePath),
    /// Nothing that is served.
    Unknown,
}

/// Reads a raw (still escaped) path.
pub(crate) fn parse(path: &str) -> Target {
    // Decoded first: an escaped slash separates like any other.
    let path = unescape(path, false);
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Target::Health,
        ["version"] => Target::Version,
        ["api"] => Target::CoreVersions,
        ["apis"] => Target::Groups,
        ["apis", group] => Target::Group((*group).to_owned()),
        ["api", version] => Target::Resources(String::new(), (*version).to_owned()),
        ["apis", group, version] => Target::Resources((*group).to_owned(), (*version).to_owned()),
        ["openapi", "v2"] => Target::OpenApiV2,
        ["openapi", "v3"] => Target::OpenApiIndex,
        ["openapi", "v3", "api", version] => Target::OpenApi(String::new(), (*version).to_owned()),
        ["openapi", "v3", "apis", group, version] => {
            Target::OpenApi((*group).to_owned(), (*version).to_owned())
        }
        ["api", version, rest @ ..] => Target::Resource(resource("", version, rest)),
        ["apis", group, version, rest @ ..] => Target::Resource(resource(group, version, rest)),
        _ => Target::Unknown,
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> ResourcePath {
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        // A namespace's own subresources look like resources inside it.
        ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, tail @ ..] if !tail.is_empty() => (*namespace, tail),
        _ => ("", rest),
    };
    let owned = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
    ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        resource: owned(0),
        name: owned(1),
        subresource: rest.get(2..).unwrap_or_default().join("/"),
        watch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> (String, String, String, String) {
        match parse(raw) {
            Target::Resource(p) => (p.namespace, p.resource, p.name, p.subresource),
            other => panic!("{raw}: {other:?}"),
        }
    }

    #[test]
    fn names_resources_namespaces_and_subresources() {
        let s = |a: &str, b: &str, c: &str, d: &str| {
            (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned())
        };
        assert_eq!(path("/api/v1/pods"), s("", "pods", "", ""));
        assert_eq!(path("/api/v1/namespaces"), s("", "namespaces", "", ""));
        assert_eq!(path("/api/v1/namespaces/a"), s("", "namespaces", "a", ""));
        assert_eq!(
            path("/api/v1/namespaces/a/finalize"),
            s("", "namespaces", "a", "finalize")
        );
        assert_eq!(
            path("/api/v1/namespaces/a/pods/p/binding"),
            s("a", "pods", "p", "binding")
        );
        assert_eq!(
            path("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode"),
            s("", "clusterroles", "system:node", "")
        );
        assert_eq!(parse("/readyz/ping"), Target::Health);
        assert_eq!(parse("/nonsense"), Target::Unknown);
        assert_eq!(
            parse("/apis/apps/v1/"),
            Target::Resources("apps".into(), "v1".into())
        );
    }
}
