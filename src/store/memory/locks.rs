//! Fair locks: a queue each, first come, first served.

use std::collections::{BTreeMap, HashMap};

use crate::store::LockMode;

#[derive(Debug, Default)]
pub(super) struct Locks {
    queues: HashMap<String, Queue>,
    last_ticket: u64,
}

/// Waiters and holders by ticket, that is, in the order of their coming.
type Queue = BTreeMap<u64, (String, LockMode)>;

impl Locks {
    pub(super) fn enter(&mut self, name: &str, mode: LockMode, holder: &str) -> bool {
        let queue = self.queues.entry(name.to_owned()).or_default();
        let known = queue.iter().find(|(_, (who, _))| who == holder);
        let (ticket, entered) = match known {
            Some((ticket, (_, entered))) => (*ticket, *entered),
            None => {
                self.last_ticket += 1;
                queue.insert(self.last_ticket, (holder.to_owned(), mode));
                (self.last_ticket, mode)
            }
        };
        let mut before = queue.range(..ticket);
        match entered {
            LockMode::Exclusive => before.next().is_none(),
            // One that came to share cannot become alone while others may share with it.
            LockMode::Shared => {
                mode == LockMode::Shared && before.all(|(_, (_, m))| *m == LockMode::Shared)
            }
        }
    }

    pub(super) fn leave(&mut self, name: &str, holder: &str) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.retain(|_, (who, _)| who != holder);
            if queue.is_empty() {
                self.queues.remove(name);
            }
        }
    }

    pub(super) fn leave_all(&mut self, holder: &str) {
        self.queues.retain(|_, queue| {
            queue.retain(|_, (who, _)| who != holder);
            !queue.is_empty()
        });
    }
}
