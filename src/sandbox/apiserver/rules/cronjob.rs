//! CronJobs: `validateScheduleFormat` in `pkg/apis/batch/validation`.

use serde_json::Value;

use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;
use crate::sandbox::controllers::cronjob::schedule::Schedule;

/// The schedule must be one that the controller can read.
pub(crate) fn validate(object: &Value) -> Vec<FieldError> {
    let schedule = meta::text(object, &["spec", "schedule"]);
    if schedule.is_empty() {
        return vec![FieldError::required("spec.schedule", "")];
    }
    match Schedule::parse(schedule) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let why = error.to_string();
            vec![FieldError::invalid("spec.schedule", schedule, why)]
        }
    }
}
