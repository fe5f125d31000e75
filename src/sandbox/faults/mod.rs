//! Faults on demand at the API server's edge: a layer around its service.
//!
//! [`Faults`] owns the rules that hold, their dice and their counts; the layer asks it once for each
//! request, before the server sees it. What the server does is never changed, only whether and how a
//! request or an answer gets through: every answer is either the server's own or what a real API server
//! says in such weather, so what clients see can happen on a real cluster. (The two exceptions say so in
//! their documentation: `stale` with `quorum=true`, and a conflict nobody caused.)
//!
//! One seed and one sequence of requests give the same faults: each rule throws its own dice, once for
//! each request that it is about. What comes from the socket passes here; of the clients in the process
//! those that are asked to ([`FaultLayer`]).

mod answers;
mod asked;
mod body;
mod door;
mod endpoint;
mod layer;
mod metrics;
mod parse;
mod plan;
mod rule;
#[cfg(test)]
mod tests;

pub use endpoint::PATH;
pub use layer::{Broken, FaultLayer, FaultService};
pub use parse::{Error, rules};
pub use plan::{Counted, Faults, Options};
pub use rule::{After, Common, Fault, Rule, Selector, Target};

pub(super) use door::serve;

/// What a fault line looks like, for `--help` and for error messages.
pub const GRAMMAR: &str = "\
A fault is a line: VERBS RESOURCES FAULT [OPTION=VALUE]...

  VERBS      get, list, watch, create, update, patch, delete, deletecollection; read, write; * for all;
             several with commas
  RESOURCES  pods, pods/binding, deployments.apps, */scale, pods/*; * for all, subresources too; a path
             such as /readyz or /api* for what is no resource; several with commas
  FAULT      latency=200ms         every answer comes later
             latency=50ms..2s      the same, by chance between the two
             409                   a conflict that nobody caused (update, patch, delete, subresources)
             429                   overload; retry-after=1s, body=text (as priority and fairness) or status
             500, 503, 504         of a server in trouble; done=true: it was carried out all the same (500, 504);
                                   retry-after=1s (503)
             410                   lists: the version is too old; watches: the same as an event,
                                   after=N events or a time, as=event or http
             cut                   watches end; after=3 (events) or after=5s, torn=true: in the middle of a line
                                   (cut and 410 meet watches that are open when the rule is made, too)
             stale                 lists from an older version that may be answered so (resourceVersion set);
                                   behind=N versions, quorum=true: also lists that promise the newest state
             lost-reply            it is carried out, the connection breaks instead of the answer
             reset                 the connection breaks, nothing is carried out
             refused               nobody listens, every connection breaks (only as: * * refused [for=5s])
  OPTIONS    ns=a,b  name=web-*  agent=wam/*   whom it meets
             p=0.1    with this probability     skip=N   not the first N
             count=N  at most N times           for=10s  for so long";
