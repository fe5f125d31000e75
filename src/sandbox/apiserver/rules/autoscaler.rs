//! HorizontalPodAutoscalers: the bounds of `validateHorizontalPodAutoscalerSpec` in
//! `pkg/apis/autoscaling/validation`.

use serde_json::Value;

use crate::sandbox::apiserver::field::FieldError;
use crate::sandbox::apiserver::meta;

/// The bounds, and that there is something to scale.
pub(crate) fn validate(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let minimum = meta::int(object, &["spec", "minReplicas"]);
    let maximum = meta::int(object, &["spec", "maxReplicas"]).unwrap_or(0);
    if let Some(minimum) = minimum.filter(|minimum| *minimum < 1) {
        let why = "must be greater than or equal to 1";
        errors.push(FieldError::invalid("spec.minReplicas", minimum, why));
    }
    match maximum {
        0 => {
            let why = "must be set and greater than 0";
            errors.push(FieldError::required("spec.maxReplicas", why));
        }
        ..0 => {
            let why = "must be greater than or equal to 1";
            errors.push(FieldError::invalid("spec.maxReplicas", maximum, why));
        }
        _ => {}
    }
    if minimum.is_some_and(|minimum| maximum < minimum) {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", maximum, why));
    }
    for field in ["kind", "name"] {
        if meta::text(object, &["spec", "scaleTargetRef", field]).is_empty() {
            errors.push(FieldError::required(
                format!("spec.scaleTargetRef.{field}"),
                "",
            ));
        }
    }
    errors
}
