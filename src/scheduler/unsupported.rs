//! Constraints that need a plugin which is not there: such a pod is not placed wrongly but left alone, with
//! an event that names the constraint and the plugin.
//!
//! What is asked is only whether the profile wants a plugin that is not built, or that is built only for
//! pods without the constraint. A plugin that the profile has switched off is not missed, as upstream.

use super::framework::{Framework, Status};
use crate::cluster::PodInfo;

/// Of this plugin we have what pods without resource claims see of it.
const DYNAMIC_RESOURCES: &str = "DynamicResources";

/// The first constraint of the pod that this profile cannot honour; the status names the plugin.
#[must_use]
pub fn unsupported(framework: &Framework, pod: &PodInfo) -> Option<Status> {
    let lacks = |plugin: &str| {
        framework.lacks(plugin) || (plugin == DYNAMIC_RESOURCES && framework.runs(plugin))
    };
    let missing = pod.spec.constraints.iter().find(|c| lacks(c.plugin))?;
    let reason = format!(
        "{} needs the plugin {}, which this scheduler does not have yet",
        missing.field, missing.plugin
    );
    Some(Status::unresolvable(reason).by(missing.plugin))
}
