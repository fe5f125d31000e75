//! Classes of pods: pods that other pods' selectors cannot tell apart. What one pod's terms say about a
//! class holds for each of its pods, so that affinity and spread ask once per class and count per node.
//!
//! Invariant: one class has one number as long as any pod (of any snapshot) is of it; numbers are dense and
//! given again after the last such pod is dropped.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::model::pod_affinity::PodAffinity;
use crate::model::selector::Labels;

/// Namespace, labels and affinity to other pods.
#[derive(Debug)]
pub struct PodClass {
    /// The number; less than [`PodClass::numbers`].
    pub number: usize,
    /// The namespace.
    pub namespace: String,
    /// The labels.
    pub labels: Labels,
    /// What its pods want of others.
    pub affinity: PodAffinity,
    hash: u64,
}

#[derive(Default)]
struct Table {
    by_hash: HashMap<u64, Vec<(usize, Weak<PodClass>)>>,
    free: Vec<usize>,
    numbers: usize,
}

fn table() -> MutexGuard<'static, Table> {
    static TABLE: OnceLock<Mutex<Table>> = OnceLock::new();
    TABLE
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

impl PodClass {
    /// The class of such pods.
    #[must_use]
    pub fn of(namespace: &str, labels: &Labels, affinity: PodAffinity) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        (namespace, labels, &affinity).hash(&mut hasher);
        let hash = hasher.finish();
        // Dropped after the table's lock, which their own dropping takes.
        let mut looked_at = Vec::new();
        let mut table = table();
        for (_, known) in table.by_hash.get(&hash).into_iter().flatten() {
            if let Some(known) = known.upgrade() {
                if known.namespace == namespace
                    && known.labels == *labels
                    && known.affinity == affinity
                {
                    drop(table);
                    return known;
                }
                looked_at.push(known);
            }
        }
        let number = table.free.pop().unwrap_or_else(|| {
            table.numbers += 1;
            table.numbers - 1
        });
        let new = Arc::new(Self {
            number,
            namespace: namespace.to_owned(),
            labels: labels.clone(),
            affinity,
            hash,
        });
        let entry = (number, Arc::downgrade(&new));
        table.by_hash.entry(hash).or_default().push(entry);
        drop(table);
        new
    }

    /// One more than the largest number given so far.
    #[must_use]
    pub fn numbers() -> usize {
        table().numbers
    }
}

impl Drop for PodClass {
    fn drop(&mut self) {
        let mut table = table();
        if let Some(entries) = table.by_hash.get_mut(&self.hash) {
            entries.retain(|(number, _)| *number != self.number);
            if entries.is_empty() {
                table.by_hash.remove(&self.hash);
            }
        }
        table.free.push(self.number);
    }
}

/// How many pods of one class are on a node.
#[derive(Debug, Clone)]
pub struct ClassCount {
    /// The class.
    pub class: Arc<PodClass>,
    /// All its pods.
    pub all: u32,
    /// Those that are not terminating.
    pub live: u32,
}

/// What was found out about classes during one cycle: each is asked about once.
#[derive(Debug)]
pub struct Memo<T>(Vec<Option<T>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Memo<T> {
    /// What `ask` says, now or when it was asked first.
    pub fn get(&mut self, class: &PodClass, ask: impl FnOnce(&PodClass) -> T) -> &T {
        if self.0.len() <= class.number {
            self.0.resize_with(class.number + 1, || None);
        }
        self.0[class.number].get_or_insert_with(|| ask(class))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pods_are_of_one_class() {
        let labels = |v: &str| Labels::from([("class-test".to_owned(), v.to_owned())]);
        let a = PodClass::of("n", &labels("a"), PodAffinity::default());
        let same = PodClass::of("n", &labels("a"), PodAffinity::default());
        let b = PodClass::of("n", &labels("b"), PodAffinity::default());
        let elsewhere = PodClass::of("m", &labels("a"), PodAffinity::default());
        assert!(Arc::ptr_eq(&a, &same));
        assert!(
            a.number != b.number && a.number != elsewhere.number && b.number != elsewhere.number
        );
        assert!(b.number < PodClass::numbers());
        drop((a, same));
        let again = PodClass::of("n", &labels("a"), PodAffinity::default());
        assert_ne!(again.number, b.number);
    }

    #[test]
    fn a_memo_asks_once() {
        let class = PodClass::of("memo", &Labels::default(), PodAffinity::default());
        let mut memo = Memo::default();
        assert_eq!(*memo.get(&class, |_| 1), 1);
        assert_eq!(*memo.get(&class, |_| 2), 1);
    }
}
