//! A configuration in its v1 form with everything that was left out, for `/configz`: what kube-scheduler
//! writes with `--write-config-to`.

use serde_json::{Map, Value, json};

use super::known::POINTS;
use super::types::{API_VERSION, Configuration, ExtenderConfig, KIND, ProfileConfig};
use crate::scheduler::framework::Profile;
use crate::scheduler::framework::profile::PluginSet;

impl Configuration {
    /// Its v1 form, complete. TLS keys of extenders are left out.
    #[must_use]
    pub fn to_v1(&self) -> Value {
        let (lease, client) = (&self.leader_election, &self.client_connection);
        let mut all = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "parallelism": self.parallelism,
            "leaderElection": {
                "leaderElect": lease.leader_elect,
                "leaseDuration": lease.lease_duration,
                "renewDeadline": lease.renew_deadline,
                "retryPeriod": lease.retry_period,
                "resourceLock": lease.resource_lock,
                "resourceName": lease.resource_name,
                "resourceNamespace": lease.resource_namespace,
            },
            "clientConnection": {
                "kubeconfig": client.kubeconfig,
                "acceptContentTypes": client.accept_content_types,
                "contentType": client.content_type,
                "qps": client.qps,
                "burst": client.burst,
            },
            "enableProfiling": self.enable_profiling,
            "enableContentionProfiling": self.enable_contention_profiling,
            "percentageOfNodesToScore": self.percentage_of_nodes_to_score,
            "podInitialBackoffSeconds": self.pod_initial_backoff_seconds,
            "podMaxBackoffSeconds": self.pod_max_backoff_seconds,
            "profiles": self.profiles.iter().map(profile).collect::<Vec<_>>(),
        });
        if !self.extenders.is_empty() {
            all["extenders"] = self.extenders.iter().map(extender).collect();
        }
        if self.delay_cache_until_active {
            all["delayCacheUntilActive"] = true.into();
        }
        all
    }
}

fn profile(given: &ProfileConfig) -> Value {
    let profile = &given.profile;
    let none = PluginSet::default();
    let mut plugins: Map<String, Value> = POINTS
        .iter()
        .map(|(name, point)| {
            let set = profile.points.get(point).unwrap_or(&none);
            ((*name).to_owned(), plugin_set(set))
        })
        .collect();
    plugins.insert("multiPoint".to_owned(), plugin_set(&profile.multi_point));
    for name in ["placementGenerate", "placementScore"] {
        plugins.insert(name.to_owned(), json!({}));
    }
    let mut value = json!({
        "schedulerName": profile.scheduler_name,
        "plugins": plugins,
        "pluginConfig": plugin_config(profile),
    });
    if let Some(percentage) = given.percentage_of_nodes_to_score {
        value["percentageOfNodesToScore"] = percentage.into();
    }
    value
}

fn plugin_set(set: &PluginSet) -> Value {
    let mut value = Map::new();
    let enabled = set.enabled.iter();
    let enabled: Vec<Value> = enabled
        .map(|(name, weight)| json!({"name": name, "weight": weight}))
        .collect();
    let disabled = set.disabled.iter();
    let disabled: Vec<Value> = disabled
        .map(|name| json!({"name": name, "weight": 0}))
        .collect();
    for (name, list) in [("enabled", enabled), ("disabled", disabled)] {
        if !list.is_empty() {
            value.insert(name.to_owned(), list.into());
        }
    }
    Value::Object(value)
}

/// The args of the plugins that the profile enables, by name.
fn plugin_config(profile: &Profile) -> Vec<Value> {
    let args = &profile.args;
    let all = [
        ("DefaultPreemption", json!(args.default_preemption)),
        ("DynamicResources", json!(args.dynamic_resources)),
        ("InterPodAffinity", json!(args.inter_pod_affinity)),
        ("NodeAffinity", json!(args.node_affinity)),
        (
            "NodeResourcesBalancedAllocation",
            json!(args.balanced_allocation),
        ),
        ("NodeResourcesFit", json!(args.resources_fit)),
        ("PodTopologySpread", json!(args.topology_spread)),
        ("VolumeBinding", json!(args.volume_binding)),
    ];
    let enabled = |name: &str| {
        let mut sets = profile.points.values().chain([&profile.multi_point]);
        sets.any(|set| set.enabled.iter().any(|(n, _)| n == name))
    };
    all.into_iter()
        .filter(|(name, _)| enabled(name))
        .map(|(name, mut args)| {
            args["apiVersion"] = API_VERSION.into();
            args["kind"] = format!("{name}Args").into();
            json!({"name": name, "args": args})
        })
        .collect()
}

fn extender(extender: &ExtenderConfig) -> Value {
    let mut value = json!({
        "urlPrefix": extender.url_prefix,
        "httpTimeout": extender.http_timeout,
    });
    for (name, text) in [
        ("filterVerb", &extender.filter_verb),
        ("preemptVerb", &extender.preempt_verb),
        ("prioritizeVerb", &extender.prioritize_verb),
        ("bindVerb", &extender.bind_verb),
    ] {
        if !text.is_empty() {
            value[name] = text.as_str().into();
        }
    }
    for (name, set) in [
        ("enableHTTPS", extender.enable_https),
        ("nodeCacheCapable", extender.node_cache_capable),
        ("ignorable", extender.ignorable),
    ] {
        if set {
            value[name] = true.into();
        }
    }
    if extender.weight != 0 {
        value["weight"] = extender.weight.into();
    }
    let managed = extender.managed_resources.iter().map(|resource| {
        let mut value = json!({"name": resource.name});
        if resource.ignored_by_scheduler {
            value["ignoredByScheduler"] = true.into();
        }
        value
    });
    let managed: Vec<Value> = managed.collect();
    if !managed.is_empty() {
        value["managedResources"] = managed.into();
    }
    if let Some(tls) = &extender.tls {
        let mut shown = Map::new();
        for (name, text) in [
            ("serverName", &tls.server_name),
            ("certFile", &tls.cert_file),
            ("keyFile", &tls.key_file),
            ("caFile", &tls.ca_file),
        ] {
            if !text.is_empty() {
                shown.insert(name.to_owned(), text.as_str().into());
            }
        }
        if tls.insecure {
            shown.insert("insecure".to_owned(), true.into());
        }
        value["tlsConfig"] = Value::Object(shown);
    }
    value
}
