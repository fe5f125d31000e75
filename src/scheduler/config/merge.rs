//! How a profile's own list is laid over the default one (`mergePluginSet` in
//! `pkg/scheduler/apis/config/v1/default_plugins.go`).

use crate::scheduler::framework::profile::{ACTION_INTENT, PluginSet};

/// The default list without what is disabled, changed in place by what is named again, followed by the rest
/// of the custom list. `*` disables all but ActionIntent, which no file of kube-scheduler's knows of.
pub(super) fn merge(default: &PluginSet, custom: &PluginSet) -> PluginSet {
    let disabled = |name: &str| {
        let by_star = |d: &str| d == "*" && name != ACTION_INTENT;
        custom.disabled.iter().any(|d| d == name || by_star(d))
    };
    let mut replaced = Vec::new();
    let mut enabled = Vec::new();
    for plugin in default.enabled.iter().filter(|(name, _)| !disabled(name)) {
        // The last of those with this name, as the map of the original keeps it.
        match custom
            .enabled
            .iter()
            .rposition(|(name, _)| *name == plugin.0)
        {
            Some(at) => {
                replaced.push(at);
                enabled.push(custom.enabled[at].clone());
            }
            None => enabled.push(plugin.clone()),
        }
    }
    let rest = custom.enabled.iter().enumerate();
    enabled.extend(
        rest.filter(|(at, _)| !replaced.contains(at))
            .map(|(_, p)| p.clone()),
    );
    PluginSet {
        enabled,
        disabled: custom.disabled.clone(),
    }
}
