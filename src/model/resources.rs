//! Resource vectors: what a node has and what pods ask for, as integers.
//!
//! Invariant: `scalars` is sorted by name and holds each name once; names are interned, so that
//! comparing them is comparing pointers first.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use smallvec::SmallVec;

use super::quantity::Quantity;

/// An interned string: resource names, image names, label keys repeat on every object.
#[must_use]
pub fn intern(text: &str) -> Arc<str> {
    static NAMES: OnceLock<Mutex<HashSet<Arc<str>>>> = OnceLock::new();
    let mut names = NAMES
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(text) {
        return known.clone();
    }
    let new: Arc<str> = text.into();
    names.insert(new.clone());
    new
}

/// Amounts of resources. cpu in thousandths, all else in whole units, both rounded up from the quantity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// cpu, in thousandths.
    pub milli_cpu: i64,
    /// memory, in bytes.
    pub memory: i64,
    /// ephemeral-storage, in bytes.
    pub ephemeral_storage: i64,
    /// How many pods; only meaningful of a node.
    pub pods: i64,
    /// Extended resources, huge pages and the like, by name.
    pub scalars: SmallVec<[(Arc<str>, i64); 1]>,
}

impl Resources {
    /// Reads a resource list. Names that the scheduler does not account for are left out.
    ///
    /// # Errors
    /// The key and the problem of the first quantity that cannot be read or is negative.
    pub fn from_api(list: &BTreeMap<String, ApiQuantity>) -> Result<Self, (String, String)> {
        let mut resources = Self::default();
        for (name, quantity) in list {
            let amount: Quantity = quantity
                .0
                .parse()
                .map_err(|e: super::quantity::NotAQuantity| (name.clone(), e.to_string()))?;
            if amount < Quantity::default() {
                return Err((name.clone(), format!("{:?} is negative", quantity.0)));
            }
            match name.as_str() {
                "cpu" => resources.milli_cpu = amount.milli_value(),
                "memory" => resources.memory = amount.value(),
                "ephemeral-storage" => resources.ephemeral_storage = amount.value(),
                "pods" => resources.pods = amount.value(),
                // A BTreeMap hands the names over in order: pushing keeps the invariant.
                other if is_scalar(other) => {
                    resources.scalars.push((intern(other), amount.value()));
                }
                _ => {}
            }
        }
        Ok(resources)
    }

    /// The amount of a resource by name (cpu in thousandths); 0 if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.milli_cpu,
            "memory" => self.memory,
            "ephemeral-storage" => self.ephemeral_storage,
            "pods" => self.pods,
            _ => self.scalar(name),
        }
    }

    /// The amount of a scalar resource; 0 if there is none.
    #[must_use]
    pub fn scalar(&self, name: &str) -> i64 {
        self.scalars
            .binary_search_by(|(n, _)| n.as_ref().cmp(name))
            .map_or(0, |at| self.scalars[at].1)
    }

    /// Sets the amount of a resource by name.
    pub fn set(&mut self, name: &str, amount: i64) {
        match name {
            "cpu" => self.milli_cpu = amount,
            "memory" => self.memory = amount,
            "ephemeral-storage" => self.ephemeral_storage = amount,
            "pods" => self.pods = amount,
            _ => match self.scalars.binary_search_by(|(n, _)| n.as_ref().cmp(name)) {
                Ok(at) => self.scalars[at].1 = amount,
                Err(at) => self.scalars.insert(at, (intern(name), amount)),
            },
        }
    }

    /// Adds, saturating.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes away what was added.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// The larger of both, per resource.
    pub fn max(&mut self, other: &Self) {
        self.combine(other, Ord::max);
    }

    fn combine(&mut self, other: &Self, how: fn(i64, i64) -> i64) {
        self.milli_cpu = how(self.milli_cpu, other.milli_cpu);
        self.memory = how(self.memory, other.memory);
        self.ephemeral_storage = how(self.ephemeral_storage, other.ephemeral_storage);
        self.pods = how(self.pods, other.pods);
        for (name, amount) in &other.scalars {
            match self.scalars.binary_search_by(|(n, _)| n.cmp(name)) {
                Ok(at) => self.scalars[at].1 = how(self.scalars[at].1, *amount),
                Err(at) => self.scalars.insert(at, (name.clone(), how(0, *amount))),
            }
        }
    }

    /// Whether nothing is asked for (pods do not count).
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.milli_cpu == 0
            && self.memory == 0
            && self.ephemeral_storage == 0
            && self.scalars.iter().all(|(_, amount)| *amount == 0)
    }
}

/// Whether the scheduler accounts for a resource by its name alone: extended resources, huge pages,
/// prefixed native ones and attachable volumes (`pkg/apis/core/v1/helper.IsScalarResourceName`).
#[must_use]
pub fn is_scalar(name: &str) -> bool {
    name.contains('/') || name.starts_with("hugepages-") || name.starts_with("attachable-volumes-")
}

/// Whether a resource is none of Kubernetes' own (`pkg/apis/core/v1/helper.IsExtendedResourceName`).
#[must_use]
pub fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(&str, &str)]) -> BTreeMap<String, ApiQuantity> {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), ApiQuantity((*v).to_owned())))
            .collect()
    }

    #[test]
    fn reads_and_rounds_up() {
        let r = Resources::from_api(&list(&[
            ("cpu", "0.0001"),
            ("memory", "33554432500m"),
            ("hugepages-2Mi", "4Mi"),
            ("example.com/gpu", "2"),
            ("storage", "1Gi"),
            ("pods", "110"),
        ]))
        .unwrap();
        assert_eq!((r.milli_cpu, r.memory, r.pods), (1, 33_554_433, 110));
        assert_eq!(r.scalar("hugepages-2Mi"), 4 << 20);
        assert_eq!(r.get("example.com/gpu"), 2);
        assert_eq!(r.scalars.len(), 2);
    }

    #[test]
    fn names_what_is_malformed() {
        let error = Resources::from_api(&list(&[("cpu", "lots")])).unwrap_err();
        assert_eq!(error.0, "cpu");
        assert!(Resources::from_api(&list(&[("memory", "-1")])).is_err());
    }

    #[test]
    fn adds_and_takes_the_larger() {
        let mut a = Resources::from_api(&list(&[("cpu", "1"), ("a.io/x", "1")])).unwrap();
        let b =
            Resources::from_api(&list(&[("cpu", "2"), ("a.io/a", "3"), ("a.io/x", "2")])).unwrap();
        let mut sum = a.clone();
        sum.add(&b);
        assert_eq!(
            (sum.milli_cpu, sum.scalar("a.io/a"), sum.scalar("a.io/x")),
            (3000, 3, 3)
        );
        a.max(&b);
        assert_eq!(
            (a.milli_cpu, a.scalar("a.io/a"), a.scalar("a.io/x")),
            (2000, 3, 2)
        );
        a.milli_cpu = i64::MAX;
        a.add(&b);
        assert_eq!(a.milli_cpu, i64::MAX);
    }
}
