//! The marks that steps leave where they acted: `<action id>.<step>.<fence>`.
//!
//! On a workload the mark is the ledger label, written in the same patch as the replica count; on a pod it
//! is the fence annotation, patched before the eviction.

use crate::store::ActionId;

/// The mark of this step under this fence. At most 63 bytes, as a label's value must be.
#[must_use]
pub fn mark(action: ActionId, step: usize, fence: u64) -> String {
    format!("{action}.{step}.{fence}")
}

/// Whether `mark` is of this step, under whatever fence.
#[must_use]
pub fn is_of(mark: &str, action: ActionId, step: usize) -> bool {
    mark.rsplit_once('.').is_some_and(|(head, fence)| {
        head == format!("{action}.{step}") && fence.parse::<u64>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_known_again_under_any_fence_and_fits_a_label() {
        let id = ActionId::new("2026-01-01T00:00:00Z".parse().unwrap());
        let text = mark(id, 11, u64::from(u32::MAX));
        assert!(text.len() <= 63, "{text}");
        assert!(is_of(&text, id, 11));
        assert!(!is_of(&text, id, 1));
        assert!(!is_of(&format!("{id}.11"), id, 11));
        assert!(!is_of("somebody's own label", id, 11));
    }
}
