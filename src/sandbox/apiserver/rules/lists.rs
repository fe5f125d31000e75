//! Lists that Go writes as `null` when they are empty: fields without `omitempty` whose values have been
//! through protobuf, which knows no empty list.

use serde_json::{Map, Value};

use super::kinds::RuleKey;

/// Writes them so.
pub(crate) fn settle(key: RuleKey, object: &mut Value) {
    let (within, fields): (Option<&str>, &[&str]) = match key {
        ("discovery.k8s.io", "endpointslices") => (None, &["endpoints", "ports"]),
        ("autoscaling", "horizontalpodautoscalers") => (Some("status"), &["currentMetrics"]),
        _ => return,
    };
    let holder = match within {
        Some(member) => object.get_mut(member),
        None => Some(object),
    };
    let Some(Value::Object(holder)) = holder else {
        return;
    };
    for field in fields {
        settle_one(holder, field);
    }
}

fn settle_one(holder: &mut Map<String, Value>, field: &str) {
    let is_empty = match holder.get(field) {
        None => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    if is_empty {
        holder.insert(field.to_owned(), Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn empty_lists_are_null_and_full_ones_are_left() {
        let mut slice = json!({"endpoints": [], "addressType": "IPv4"});
        settle(("discovery.k8s.io", "endpointslices"), &mut slice);
        assert_eq!(
            slice,
            json!({"endpoints": null, "ports": null, "addressType": "IPv4"})
        );
        let mut scaler = json!({"status": {"currentMetrics": [{"type": ""}]}});
        let before = scaler.clone();
        settle(("autoscaling", "horizontalpodautoscalers"), &mut scaler);
        assert_eq!(scaler, before);
    }
}
