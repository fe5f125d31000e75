//! Labels as numbers: each key, and each key with a value, has one number in the whole process, so that
//! asking for the topology domain of a node, and counting per domain, is about integers.
//!
//! Invariant: numbers are dense, start at 0 and are never given back; equal numbers are equal labels.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::selector::Labels;

/// The number of a label key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopologyKey(u32);

/// The number of a label: a key with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(u32);

#[derive(Default)]
struct Names {
    keys: HashMap<String, TopologyKey>,
    /// Per key, its values.
    domains: Vec<HashMap<String, Domain>>,
    count: u32,
}

fn names() -> MutexGuard<'static, Names> {
    static NAMES: OnceLock<Mutex<Names>> = OnceLock::new();
    NAMES
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

impl Names {
    fn key(&mut self, key: &str) -> TopologyKey {
        if let Some(known) = self.keys.get(key) {
            return *known;
        }
        let new = TopologyKey(u32::try_from(self.domains.len()).unwrap_or(u32::MAX));
        self.keys.insert(key.to_owned(), new);
        self.domains.push(HashMap::new());
        new
    }

    fn domain(&mut self, key: TopologyKey, value: &str) -> Domain {
        let next = Domain(self.count);
        let values = &mut self.domains[key.0 as usize];
        if let Some(known) = values.get(value) {
            return *known;
        }
        values.insert(value.to_owned(), next);
        self.count += 1;
        next
    }
}

impl TopologyKey {
    /// The number of this key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        names().key(key)
    }

    /// The number of this label.
    #[must_use]
    pub fn domain(self, value: &str) -> Domain {
        names().domain(self, value)
    }
}

/// Something per domain.
pub type DomainMap<T> = HashMap<Domain, T, BuildHasherDefault<DomainHasher>>;

/// Spreads the numbers of domains over a table: they are dense, so that one multiplication does.
#[derive(Debug, Default)]
pub struct DomainHasher(u64);

impl Hasher for DomainHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// The labels of a node, as numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Domains(Vec<(TopologyKey, Domain)>);

impl Domains {
    /// Of these labels.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        let mut names = names();
        let number = |(key, value): (&String, &String)| {
            let key = names.key(key);
            (key, names.domain(key, value))
        };
        let mut all: Vec<_> = labels.iter().map(number).collect();
        all.sort_unstable();
        Self(all)
    }

    /// The domain of this key, if the node has the label.
    #[must_use]
    pub fn get(&self, key: TopologyKey) -> Option<Domain> {
        let at = self.0.binary_search_by_key(&key, |(k, _)| *k).ok()?;
        Some(self.0[at].1)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Domain> {
        self.0.iter().map(|(_, domain)| *domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_labels_have_equal_numbers() {
        let labels = |entries: &[(&str, &str)]| -> Labels {
            let own = entries
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            own.collect()
        };
        let a = Domains::of(&labels(&[("zone", "a"), ("host", "1")]));
        let b = Domains::of(&labels(&[("host", "2"), ("zone", "a"), ("x", "a")]));
        let key = TopologyKey::of;
        assert_eq!(a.get(key("zone")), b.get(key("zone")));
        assert_ne!(a.get(key("host")), b.get(key("host")));
        assert_ne!(b.get(key("x")), b.get(key("zone")));
        assert_eq!(a.get(key("x")), None);
        assert_eq!(b.get(key("zone")), Some(key("zone").domain("a")));
        assert_eq!(b.iter().count(), 3);
    }
}
