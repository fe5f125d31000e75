//! Taints and tolerations.

use k8s_openapi::api::core::v1 as api;

/// The effect of a taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away if they can.
    PreferNoSchedule,
    /// Pods are evicted, too.
    NoExecute,
}

impl Effect {
    fn from_api(text: &str) -> Option<Self> {
        match text {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }

    /// Whether an untolerated taint of this effect keeps a pod from being placed.
    #[must_use]
    pub fn repels(self) -> bool {
        self != Self::PreferNoSchedule
    }
}

/// A node's taint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Taint {
    /// The key.
    pub key: String,
    /// The value, empty if none.
    pub value: String,
    /// The effect.
    pub effect: Effect,
}

impl Taint {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn from_api(taint: &api::Taint) -> Result<Self, String> {
        Ok(Self {
            key: taint.key.clone(),
            value: taint.value.clone().unwrap_or_default(),
            effect: Effect::from_api(&taint.effect)
                .ok_or_else(|| format!("effect {:?} is unknown", taint.effect))?,
        })
    }
}

/// A pod's toleration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// The key; empty for all keys.
    pub key: String,
    /// The value wanted; `None` for any (operator `Exists`).
    pub value: Option<String>,
    /// The effect; `None` for all.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, in words. `Lt` and `Gt` are behind a feature gate that is off in v1.36.
    pub fn from_api(toleration: &api::Toleration) -> Result<Self, String> {
        let value = match toleration.operator.as_deref().unwrap_or_default() {
            "" | "Equal" => Some(toleration.value.clone().unwrap_or_default()),
            "Exists" => None,
            other => return Err(format!("operator {other:?} is unknown")),
        };
        let effect = match toleration.effect.as_deref().unwrap_or_default() {
            "" => None,
            other => Some(
                Effect::from_api(other).ok_or_else(|| format!("effect {other:?} is unknown"))?,
            ),
        };
        Ok(Self {
            key: toleration.key.clone().unwrap_or_default(),
            value,
            effect,
        })
    }

    /// Whether it tolerates a taint.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && self
                .value
                .as_ref()
                .is_none_or(|value| *value == taint.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(json: serde_json::Value) -> Toleration {
        Toleration::from_api(&serde_json::from_value(json).unwrap()).unwrap()
    }

    #[test]
    fn tolerates() {
        let taint = Taint {
            key: "a".into(),
            value: "1".into(),
            effect: Effect::NoSchedule,
        };
        for (json, expected) in [
            (serde_json::json!({"operator":"Exists"}), true),
            (serde_json::json!({"key":"a","operator":"Exists"}), true),
            (serde_json::json!({"key":"b","operator":"Exists"}), false),
            (serde_json::json!({"key":"a","value":"1"}), true),
            (serde_json::json!({"key":"a","value":"2"}), false),
            (serde_json::json!({"key":"a","operator":"Equal"}), false),
            (
                serde_json::json!({"key":"a","value":"1","effect":"NoExecute"}),
                false,
            ),
            (
                serde_json::json!({"key":"a","value":"1","effect":"NoSchedule"}),
                true,
            ),
        ] {
            assert_eq!(
                toleration(json.clone()).tolerates(&taint),
                expected,
                "{json}"
            );
        }
    }

    #[test]
    fn refuses_the_unknown() {
        for json in [
            serde_json::json!({"operator":"Gt"}),
            serde_json::json!({"effect":"Never"}),
        ] {
            assert!(Toleration::from_api(&serde_json::from_value(json).unwrap()).is_err());
        }
    }
}
