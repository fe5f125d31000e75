//! Whom PodDisruptionBudgets would keep (`filterPodsWithPDBViolation`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::policy::v1 as policy;

use crate::cluster::PodInfo;
use crate::model::NamespacedName;
use crate::model::selector::LabelSelector;

type Table = BTreeMap<NamespacedName, Arc<policy::PodDisruptionBudget>>;

/// The budgets, as far as they are not used up yet by the victims asked about so far.
pub(super) struct Budgets<'a> {
    table: &'a Table,
    /// By namespace: selector, what is left, and the pods whose eviction the API server has counted.
    read: HashMap<String, Vec<Budget<'a>>>,
}

struct Budget<'a> {
    selector: LabelSelector,
    left: i64,
    budget: &'a policy::PodDisruptionBudget,
}

impl<'a> Budgets<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        Self {
            table,
            read: HashMap::new(),
        }
    }

    /// Takes the pod from all budgets that select it; whether one of them had nothing left.
    pub(super) fn violated_by(&mut self, pod: &PodInfo) -> bool {
        if pod.pod.labels.is_empty() {
            return false;
        }
        let namespace = &pod.pod.key.namespace;
        let table = self.table;
        let budgets = self
            .read
            .entry(namespace.clone())
            .or_insert_with(|| read(table, namespace));
        let mut violated = false;
        for budget in budgets {
            let status = budget.budget.status.as_ref();
            let counted = status.and_then(|s| s.disrupted_pods.as_ref());
            if !budget.selector.matches(&pod.pod.labels)
                || counted.is_some_and(|pods| pods.contains_key(&pod.pod.key.name))
            {
                continue;
            }
            budget.left -= 1;
            violated |= budget.left < 0;
        }
        violated
    }
}

/// Budgets without a selector, or with one that is empty or makes no sense, select nothing here.
fn read<'a>(table: &'a Table, namespace: &str) -> Vec<Budget<'a>> {
    let from = NamespacedName::new(namespace, "");
    let all = table
        .range(from..)
        .take_while(|(key, _)| key.namespace == namespace);
    let usable = all.filter_map(|(_, budget)| {
        let selector = budget.spec.as_ref()?.selector.as_ref()?;
        let selector = LabelSelector::from_api(selector).ok()?;
        let allowed = budget
            .status
            .as_ref()
            .map_or(0, |s| s.disruptions_allowed.unwrap_or(0));
        (!selector.is_empty()).then_some(Budget {
            selector,
            left: i64::from(allowed),
            budget,
        })
    });
    usable.collect()
}
