//! Reviews: resources that answer a question and keep nothing. The sandbox allows everything to one
//! user, who is in `system:masters`.

use serde_json::{Value, json};

use crate::sandbox::apiserver::call::Call;
use crate::sandbox::apiserver::error::Error;
use crate::sandbox::apiserver::meta;
use crate::sandbox::apiserver::reply::Reply;

/// The name of everyone who calls.
const USER: &str = "sandbox-admin";

fn user() -> Value {
    json!({"username": USER, "groups": ["system:masters", "system:authenticated"]})
}

/// Answers a review; `None` if the resource is none.
pub(crate) fn review(call: &Call) -> Option<Result<Reply, Error>> {
    let status = match call.resource.facts.name.as_str() {
        "selfsubjectaccessreviews" | "subjectaccessreviews" | "localsubjectaccessreviews" => {
            json!({"allowed": true})
        }
        "selfsubjectrulesreviews" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        "selfsubjectreviews" => json!({"userInfo": user()}),
        "tokenreviews" => json!({"authenticated": true, "user": user()}),
        _ => return None,
    };
    Some(call.decode_object().map(|mut object| {
        object["status"] = status;
        meta::metadata_mut(&mut object);
        if call.resource.facts.name == "selfsubjectreviews" {
            meta::set(&mut object, "creationTimestamp", Some(meta::time(call.now)));
        }
        Reply::json(201, &object)
    }))
}
