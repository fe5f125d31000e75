//! From the tree to [`Configuration`]: every field by its name and type, defaults where there is none.

use base64::Engine;

use super::args::PluginArgs;
use super::args_decode::args;
use super::duration::GoDuration;
use super::known::POINTS;
use super::merge::merge;
use super::reader::{Fields, Reader};
use super::types::{
    API_VERSION, ClientConnection, Configuration, DEFAULT_SCHEDULER, ExtenderConfig, ExtenderTls,
    KIND, LeaderElection, ManagedResource, ProfileConfig,
};
use super::yaml::{Node, Value};
use crate::scheduler::framework::profile::{PluginSet, Profile};

type Field<'a> = Option<(&'a Node, String)>;

/// Reads the whole. Problems are collected in `reader`; what they concern has its default.
pub(super) fn configuration(reader: &mut Reader, root: &Node) -> Configuration {
    let mut config = Configuration::default();
    reader.object(root, "", |reader, fields| {
        header(reader, root, fields);
        set(
            &mut config.parallelism,
            reader.integer(fields.take("parallelism")),
        );
        if let Some((node, path)) = fields.take("leaderElection") {
            let read = reader.object(node, &path, leader_election);
            set(&mut config.leader_election, read);
        }
        if let Some((node, path)) = fields.take("clientConnection") {
            let read = reader.object(node, &path, client_connection);
            set(&mut config.client_connection, read);
        }
        set(
            &mut config.enable_profiling,
            reader.boolean(fields.take("enableProfiling")),
        );
        let contention = reader.boolean(fields.take("enableContentionProfiling"));
        config.enable_contention_profiling = contention.unwrap_or(config.enable_profiling);
        set(
            &mut config.percentage_of_nodes_to_score,
            reader.integer(fields.take("percentageOfNodesToScore")),
        );
        set(
            &mut config.pod_initial_backoff_seconds,
            reader.integer(fields.take("podInitialBackoffSeconds")),
        );
        set(
            &mut config.pod_max_backoff_seconds,
            reader.integer(fields.take("podMaxBackoffSeconds")),
        );
        let profiles = fields.take("profiles");
        let given = reader.list(profiles, |reader, node, path| {
            let read = reader.object(node, path, profile);
            // One that cannot be read still counts: those after it keep their places.
            Some(read.unwrap_or_else(|| empty_profile(DEFAULT_SCHEDULER.to_owned())))
        });
        if let Some(mut given) = given.filter(|given| !given.is_empty()) {
            if let [only] = given.as_mut_slice()
                && only.profile.scheduler_name.is_empty()
            {
                only.profile.scheduler_name = DEFAULT_SCHEDULER.to_owned();
            }
            config.profiles = given;
        }
        let extenders = fields.take("extenders");
        let extenders = reader.list(extenders, |reader, node, path| {
            reader.object(node, path, extender)
        });
        set(&mut config.extenders, extenders);
        set(
            &mut config.delay_cache_until_active,
            reader.boolean(fields.take("delayCacheUntilActive")),
        );
    });
    let ignored: Vec<String> = config
        .extenders
        .iter()
        .flat_map(|extender| &extender.managed_resources)
        .filter(|resource| resource.ignored_by_scheduler)
        .map(|resource| resource.name.clone())
        .collect();
    for profile in &mut config.profiles {
        if !ignored.is_empty() {
            // In place of what the args say (`buildExtenders` in scheduler.go).
            ignored.clone_into(&mut profile.profile.args.resources_fit.ignored_resources);
        }
        let percentage = profile
            .percentage_of_nodes_to_score
            .unwrap_or(config.percentage_of_nodes_to_score);
        profile.profile.percentage_of_nodes_to_score = u32::try_from(percentage).unwrap_or(0);
    }
    config
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn header(reader: &mut Reader, root: &Node, fields: &mut Fields<'_>) {
    for (name, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match fields.take(name) {
            None => reader.problem(root.at, name, format!("must be {wanted:?}")),
            Some((node, path)) => {
                if let Some(found) = reader.text_at(node, &path)
                    && found != wanted
                {
                    reader.problem(node.at, &path, format!("must be {wanted:?}, not {found:?}"));
                }
            }
        }
    }
}

/// Durations and words that are there but empty count as left out, as in Go.
fn leader_election(reader: &mut Reader, fields: &mut Fields<'_>) -> LeaderElection {
    let mut election = LeaderElection::default();
    set(
        &mut election.leader_elect,
        reader.boolean(fields.take("leaderElect")),
    );
    for (name, place) in [
        ("leaseDuration", &mut election.lease_duration),
        ("renewDeadline", &mut election.renew_deadline),
        ("retryPeriod", &mut election.retry_period),
    ] {
        set(
            place,
            reader.duration(fields.take(name)).filter(|d| !d.is_zero()),
        );
    }
    for (name, place) in [
        ("resourceLock", &mut election.resource_lock),
        ("resourceName", &mut election.resource_name),
        ("resourceNamespace", &mut election.resource_namespace),
    ] {
        set(
            place,
            reader.text(fields.take(name)).filter(|t| !t.is_empty()),
        );
    }
    election
}

fn client_connection(reader: &mut Reader, fields: &mut Fields<'_>) -> ClientConnection {
    let mut client = ClientConnection::default();
    for (name, place) in [
        ("kubeconfig", &mut client.kubeconfig),
        ("acceptContentTypes", &mut client.accept_content_types),
        ("contentType", &mut client.content_type),
    ] {
        set(
            place,
            reader.text(fields.take(name)).filter(|t| !t.is_empty()),
        );
    }
    set(
        &mut client.qps,
        reader.float(fields.take("qps")).filter(|q| *q != 0.0),
    );
    set(
        &mut client.burst,
        reader.integer(fields.take("burst")).filter(|b| *b != 0),
    );
    client
}

fn empty_profile(scheduler_name: String) -> ProfileConfig {
    ProfileConfig {
        profile: Profile::new(scheduler_name),
        percentage_of_nodes_to_score: None,
    }
}

fn profile(reader: &mut Reader, fields: &mut Fields<'_>) -> ProfileConfig {
    let mut read = empty_profile(String::new());
    set(
        &mut read.profile.scheduler_name,
        reader.text(fields.take("schedulerName")),
    );
    read.percentage_of_nodes_to_score = reader.integer(fields.take("percentageOfNodesToScore"));
    if let Some((node, path)) = fields.take("plugins") {
        reader.object(node, &path, |reader, fields| {
            plugins(reader, fields, &mut read.profile);
        });
    }
    let configs = fields.take("pluginConfig");
    let mut seen: Vec<String> = Vec::new();
    reader.list(configs, |reader, node, path| {
        reader.object(node, path, |reader, fields| {
            let (name, at) = (reader.text(fields.take("name")), node.at);
            let given = fields.take("args");
            let Some(name) = name else {
                return reader.problem(at, &fields.path("name"), "Required value");
            };
            if seen.contains(&name) {
                reader.problem(at, path, format!("Duplicate value: {name:?}"));
                // Read for its own mistakes; the first one counts.
                return args(reader, &name, given, &mut PluginArgs::default());
            }
            args(reader, &name, given, &mut read.profile.args);
            seen.push(name);
        })
    });
    read
}

fn plugins(reader: &mut Reader, fields: &mut Fields<'_>, profile: &mut Profile) {
    if let Some(custom) = plugin_set(reader, fields.take("multiPoint")) {
        profile.multi_point = merge(&profile.multi_point, &custom);
    }
    for (name, point) in POINTS {
        if let Some(set) = plugin_set(reader, fields.take(name)) {
            profile.points.insert(point, set);
        }
    }
    for name in ["placementGenerate", "placementScore"] {
        let field = fields.take(name);
        let at = field.as_ref().map(|(node, path)| (node.at, path.clone()));
        if let (Some(set), Some((at, path))) = (plugin_set(reader, field), at)
            && !set.enabled.is_empty()
        {
            let text = "needs the feature gate TopologyAwareWorkloadScheduling, which is off";
            reader.problem(at, &path, text);
        }
    }
}

fn plugin_set(reader: &mut Reader, field: Field<'_>) -> Option<PluginSet> {
    let (node, path) = field?;
    reader.object(node, &path, |reader, fields| {
        let plugins = |reader: &mut Reader, field: Field<'_>| {
            reader.list(field, |reader, node, path| {
                reader.object(node, path, |reader, fields| {
                    let (name, weight) = (fields.take("name"), fields.take("weight"));
                    if name.is_none() {
                        reader.problem(node.at, &fields.path("name"), "Required value");
                    }
                    let weight = reader.integer::<i32>(weight).unwrap_or(0);
                    (reader.text(name).unwrap_or_default(), i64::from(weight))
                })
            })
        };
        let enabled = plugins(reader, fields.take("enabled")).unwrap_or_default();
        let disabled = plugins(reader, fields.take("disabled")).unwrap_or_default();
        PluginSet {
            enabled: enabled
                .into_iter()
                .filter(|(name, _)| !name.is_empty())
                .collect(),
            disabled: disabled.into_iter().map(|(name, _)| name).collect(),
        }
    })
}

fn extender(reader: &mut Reader, fields: &mut Fields<'_>) -> ExtenderConfig {
    let mut text = |reader: &mut Reader, name| reader.text(fields.take(name)).unwrap_or_default();
    let mut read = ExtenderConfig {
        url_prefix: text(reader, "urlPrefix"),
        filter_verb: text(reader, "filterVerb"),
        preempt_verb: text(reader, "preemptVerb"),
        prioritize_verb: text(reader, "prioritizeVerb"),
        bind_verb: text(reader, "bindVerb"),
        weight: 0,
        enable_https: false,
        tls: None,
        http_timeout: GoDuration::from_secs(5),
        node_cache_capable: false,
        managed_resources: Vec::new(),
        ignorable: false,
    };
    set(&mut read.weight, reader.integer(fields.take("weight")));
    set(
        &mut read.enable_https,
        reader.boolean(fields.take("enableHTTPS")),
    );
    if let Some((node, path)) = fields.take("tlsConfig") {
        read.tls = reader.object(node, &path, extender_tls);
    }
    let timeout = reader.duration(fields.take("httpTimeout"));
    set(&mut read.http_timeout, timeout.filter(|d| !d.is_zero()));
    set(
        &mut read.node_cache_capable,
        reader.boolean(fields.take("nodeCacheCapable")),
    );
    let managed = fields.take("managedResources");
    let managed = reader.list(managed, |reader, node, path| {
        reader.object(node, path, |reader, fields| ManagedResource {
            name: reader.text(fields.take("name")).unwrap_or_default(),
            ignored_by_scheduler: reader
                .boolean(fields.take("ignoredByScheduler"))
                .unwrap_or_default(),
        })
    });
    set(&mut read.managed_resources, managed);
    set(
        &mut read.ignorable,
        reader.boolean(fields.take("ignorable")),
    );
    read
}

fn extender_tls(reader: &mut Reader, fields: &mut Fields<'_>) -> ExtenderTls {
    let mut tls = ExtenderTls::default();
    set(&mut tls.insecure, reader.boolean(fields.take("insecure")));
    for (name, place) in [
        ("serverName", &mut tls.server_name),
        ("certFile", &mut tls.cert_file),
        ("keyFile", &mut tls.key_file),
        ("caFile", &mut tls.ca_file),
    ] {
        set(place, reader.text(fields.take(name)));
    }
    for (name, place) in [
        ("certData", &mut tls.cert_data),
        ("keyData", &mut tls.key_data),
        ("caData", &mut tls.ca_data),
    ] {
        let Some((node, path)) = fields.take(name) else {
            continue;
        };
        let decoded = match &node.value {
            Value::Text(text) => base64::engine::general_purpose::STANDARD
                .decode(text.split_whitespace().collect::<String>())
                .ok(),
            _ => None,
        };
        match decoded {
            Some(bytes) => *place = bytes,
            None => reader.problem(node.at, &path, "must be base64"),
        }
    }
    tls
}
