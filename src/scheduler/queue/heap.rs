//! A binary heap of pods under an order given from outside, in which a pod can be found by its uid.

use std::collections::HashMap;

use super::QueuedPod;

/// Whether the first goes before the second.
pub(super) type Less<'a> = &'a dyn Fn(&QueuedPod, &QueuedPod) -> bool;

#[derive(Debug, Default)]
pub(super) struct Heap {
    items: Vec<QueuedPod>,
    at: HashMap<String, usize>,
}

impl Heap {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn peek(&self) -> Option<&QueuedPod> {
        self.items.first()
    }

    pub(super) fn get(&self, uid: &str) -> Option<&QueuedPod> {
        self.at.get(uid).map(|at| &self.items[*at])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedPod> {
        self.items.iter()
    }

    pub(super) fn push(&mut self, pod: QueuedPod, less: Less<'_>) {
        self.remove(pod.uid(), less);
        self.at.insert(pod.uid().to_owned(), self.items.len());
        self.items.push(pod);
        self.up(self.items.len() - 1, less);
    }

    pub(super) fn pop(&mut self, less: Less<'_>) -> Option<QueuedPod> {
        let uid = self.items.first()?.uid().to_owned();
        self.remove(&uid, less)
    }

    pub(super) fn remove(&mut self, uid: &str, less: Less<'_>) -> Option<QueuedPod> {
        let at = self.at.remove(uid)?;
        let removed = self.items.swap_remove(at);
        if at < self.items.len() {
            self.at.insert(self.items[at].uid().to_owned(), at);
            let at = self.up(at, less);
            self.down(at, less);
        }
        Some(removed)
    }

    fn before(&self, a: usize, b: usize, less: Less<'_>) -> bool {
        let (a, b) = (&self.items[a], &self.items[b]);
        less(a, b) || (!less(b, a) && a.sequence < b.sequence)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.items.swap(a, b);
        for i in [a, b] {
            if let Some(at) = self.at.get_mut(self.items[i].info.uid()) {
                *at = i;
            }
        }
    }

    fn up(&mut self, mut at: usize, less: Less<'_>) -> usize {
        while at > 0 && self.before(at, (at - 1) / 2, less) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
        at
    }

    fn down(&mut self, mut at: usize, less: Less<'_>) {
        loop {
            let children = [2 * at + 1, 2 * at + 2];
            let mut first = at;
            for child in children.into_iter().filter(|c| *c < self.items.len()) {
                if self.before(child, first, less) {
                    first = child;
                }
            }
            if first == at {
                return;
            }
            self.swap(at, first);
            at = first;
        }
    }
}
