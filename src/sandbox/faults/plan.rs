//! The rules that hold, their dice and their counts: what happens to a request is decided here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;

use super::asked::Asked;
use super::metrics::Metrics;
use super::rule::{Fault, Rule};
use crate::clock;

/// The weather at a cluster's start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The rules, from when the cluster is ready.
    pub rules: Vec<Rule>,
    /// The cluster's own controllers and kubelets meet them too (as `kube-controller-manager` and `kubelet`),
    /// not only who comes from outside.
    pub everywhere: bool,
}

/// A rule with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The rule.
    pub rule: Rule,
    /// Requests that it is about.
    pub matched: u64,
    /// Those that it struck.
    pub injected: u64,
}

#[derive(Debug)]
struct Live {
    counted: Counted,
    dice: StdRng,
    ends: Option<Instant>,
    serial: u64,
}

#[derive(Debug, Default)]
struct Plan {
    rules: Vec<Live>,
    /// Faults of rules that hold no more.
    past: u64,
    /// How many rules there were since the last [`Faults::set`]: seeds the next one's dice.
    made: u64,
    /// How many rules there ever were.
    serial: u64,
}

/// What is to happen to a request.
#[derive(Debug, Default)]
pub(super) struct Decision {
    /// Before anything else.
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
    /// The newest rule that was asked.
    pub(super) serial: u64,
}

/// The rules that hold. Clones share them; they can be changed at any time.
#[derive(Clone, Debug)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
    seed: u64,
    metrics: Metrics,
    changed: watch::Sender<()>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Faults {
    /// No rules yet. `seed` decides what their dice show.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            plan: Arc::default(),
            seed,
            metrics: Metrics::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Counts faults in this registry, as `wam_sandbox_faults_injected_total` by fault.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.metrics.register(registry);
    }

    /// These rules hold from now on, and no others. Dice begin anew, so the same rules set twice strike alike.
    pub fn set(&self, rules: Vec<Rule>) {
        {
            let mut plan = self.lock();
            plan.retire();
            plan.made = 0;
            for rule in rules {
                plan.add(rule, self.seed);
            }
        }
        self.changed.send_replace(());
    }

    /// This rule holds besides the others, after them.
    pub fn add(&self, rule: Rule) {
        self.lock().add(rule, self.seed);
        self.changed.send_replace(());
    }

    /// Good weather.
    pub fn clear(&self) {
        self.set(Vec::new());
    }

    /// The rules that hold, in their order, with their counts.
    #[must_use]
    pub fn report(&self) -> Vec<Counted> {
        let plan = self.lock();
        plan.rules.iter().map(|live| live.counted.clone()).collect()
    }

    /// How many faults there were, of rules that hold no more too.
    #[must_use]
    pub fn injected(&self) -> u64 {
        let plan = self.lock();
        let now: u64 = plan.rules.iter().map(|live| live.counted.injected).sum();
        plan.past + now
    }

    /// Whether no rule holds.
    pub(super) fn is_calm(&self) -> bool {
        self.lock().rules.is_empty()
    }

    /// Told of every change of the rules.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether nobody listens; if so, this request is counted as one that nobody heard.
    pub(super) fn refuses(&self) -> bool {
        let now = clock::instant();
        let mut plan = self.lock();
        let refusing = plan.rules.iter_mut().find(|live| live.refuses(now));
        if let Some(live) = refusing {
            live.counted.matched += 1;
            live.counted.injected += 1;
            self.metrics.count(&Fault::Refused);
            return true;
        }
        false
    }

    /// Decides about one request. Rules are asked in their order; the first that strikes ends it, except that
    /// latencies add up.
    pub(super) fn decide(&self, asked: &Asked) -> Decision {
        self.ask(asked, 0, |fault| *fault != Fault::Refused)
    }

    /// Decides about a watch that is open: rules newer than `since` may end it, as if it began now.
    pub(super) fn decide_open(&self, asked: &Asked, since: u64) -> Decision {
        let ends = |fault: &Fault| {
            matches!(
                fault,
                Fault::Cut { .. } | Fault::Expired { http: false, .. }
            )
        };
        self.ask(asked, since, ends)
    }

    fn ask(&self, asked: &Asked, since: u64, among: impl Fn(&Fault) -> bool) -> Decision {
        let mut plan = self.lock();
        let mut decision = Decision {
            serial: plan.serial,
            ..Decision::default()
        };
        if plan.rules.is_empty() {
            return decision;
        }
        let now = clock::instant();
        for live in &mut plan.rules {
            let rule = &live.counted.rule;
            if live.serial <= since || !among(&rule.fault) || !asked.is_met_by(rule) {
                continue;
            }
            let Some(luck) = live.strikes(now) else {
                continue;
            };
            let counted = &live.counted;
            let fault = counted.rule.fault.clone();
            self.metrics.count(&fault);
            tracing::info!(
                rule = %counted.rule,
                number = counted.injected,
                request = %asked,
                agent = asked.agent,
                "fault injected"
            );
            match fault {
                Fault::Latency(low, high) => decision.delay += low + (high - low).mul_f64(luck),
                fault => {
                    decision.fault = Some(fault);
                    return decision;
                }
            }
        }
        decision
    }

    /// Until when nobody listens: `None` if somebody does, `Some(None)` without an end.
    pub(super) fn refusing(&self) -> Option<Option<Instant>> {
        let now = clock::instant();
        let plan = self.lock();
        let mut ends: Option<Option<Instant>> = None;
        for live in &plan.rules {
            if !live.refuses(now) {
                continue;
            }
            ends = Some(match (ends, live.ends) {
                (None, end) => end,
                (Some(Some(a)), Some(b)) => Some(a.max(b)),
                _ => None,
            });
        }
        ends
    }

    /// Waits until somebody listens (`false`) or nobody does (`true`). Cancel-safe.
    pub(super) async fn until_refusing(&self, wanted: bool) {
        let mut changes = self.changes();
        loop {
            let refusing = self.refusing();
            if refusing.is_some() == wanted {
                return;
            }
            let end = async {
                match refusing {
                    Some(Some(end)) => clock::sleep_until(end).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                // An error is impossible: `self` holds the sender.
                _ = changes.changed() => {}
                () = end => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        // No half-done change can be seen: a panic in here leaves counts behind at worst.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn retire(&mut self) {
        for live in self.rules.drain(..) {
            self.past += live.counted.injected;
        }
    }

    fn add(&mut self, rule: Rule, seed: u64) {
        // An odd multiplier keeps the dice of neighbouring rules and seeds apart.
        let dice = seed.wrapping_add(self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.made += 1;
        self.serial += 1;
        let ends = rule
            .common
            .lasting
            .map(|lasting| clock::instant() + lasting);
        self.rules.push(Live {
            counted: Counted {
                rule,
                matched: 0,
                injected: 0,
            },
            dice: StdRng::seed_from_u64(dice),
            ends,
            serial: self.serial,
        });
    }
}

impl Live {
    fn refuses(&self, now: Instant) -> bool {
        self.counted.rule.fault == Fault::Refused && self.ends.is_none_or(|end| now < end)
    }

    /// Whether it strikes a request that it is about; if so, a number from 0 to 1 for what else is left to
    /// chance. The dice fall once for each request, whatever comes of it.
    fn strikes(&mut self, now: Instant) -> Option<f64> {
        let (hit, luck) = (self.dice.random::<f64>(), self.dice.random::<f64>());
        if self.ends.is_some_and(|end| end <= now) {
            return None;
        }
        let counted = &mut self.counted;
        counted.matched += 1;
        let common = &counted.rule.common;
        let strikes = counted.matched > common.skip
            && common.count.is_none_or(|count| counted.injected < count)
            && hit < common.probability;
        if strikes {
            counted.injected += 1;
        }
        strikes.then_some(luck)
    }
}
