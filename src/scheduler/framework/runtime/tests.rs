use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;
use crate::model::resources::intern;
use crate::scheduler::diagnosis::FitError;
use crate::scheduler::framework::PluginSet;
use crate::scheduler::framework::plugin::{
    Filter, NoHelp, PostFilter, PreFilter, PreScore, Reserve, Score,
};
use crate::scheduler::intents::IntentBook;
use crate::scheduler::plugins::{registry, testing};

/// Says what it is told to, and writes down what it was asked.
struct Puppet {
    name: &'static str,
    pre_filter: fn() -> Result<NodeNames, Status>,
    filter: fn() -> Result<(), Status>,
    score: i64,
    reserve: fn() -> Result<(), Status>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Puppet {
    fn note(&self, what: &str) {
        self.log
            .lock()
            .unwrap()
            .push(format!("{} {what}", self.name));
    }
}

impl Plugin for Puppet {
    fn name(&self) -> &'static str {
        self.name
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn as_reserve(&self) -> Option<&dyn Reserve> {
        Some(self)
    }
}

impl PreFilter for Puppet {
    fn pre_filter(
        &self,
        _: &mut CycleState,
        _: &PodInfo,
        _: &Snapshot,
    ) -> Result<NodeNames, Status> {
        self.note("PreFilter");
        (self.pre_filter)()
    }
}
impl Filter for Puppet {
    fn filter(&self, _: &CycleState, _: &PodInfo, _: &NodeInfo) -> Result<(), Status> {
        self.note("Filter");
        (self.filter)()
    }
}
impl PostFilter for Puppet {
    fn post_filter(&self, _: &PostFilterContext<'_>) -> Result<Nomination, NoHelp> {
        Err(Status::unschedulable(format!("{} cannot help", self.name)).into())
    }
}
impl PreScore for Puppet {
    fn pre_score(
        &self,
        _: &mut CycleState,
        _: &PodInfo,
        _: &[Arc<NodeInfo>],
        _: &Snapshot,
    ) -> Result<(), Status> {
        if self.score < 0 {
            Err(Status::skip())
        } else {
            Ok(())
        }
    }
}
impl Score for Puppet {
    fn score(&self, _: &CycleState, _: &PodInfo, _: &NodeInfo, _: &Snapshot) -> i64 {
        self.score
    }
}
impl Reserve for Puppet {
    fn reserve(&self, _: &CycleState, _: &PodInfo, _: &str) -> Result<(), Status> {
        self.note("Reserve");
        (self.reserve)()
    }
    fn unreserve(&self, _: &CycleState, _: &PodInfo, _: &str) {
        self.note("Unreserve");
    }
}

/// Two puppets, A and B, changed as wanted; the framework of both and their log.
fn stage(change: impl Fn(&mut Puppet)) -> (Framework, Arc<Mutex<Vec<String>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut plugins = registry(Arc::new(IntentBook::default()));
    let mut profile = Profile::new("s");
    let mut enabled = vec![
        ("PrioritySort".to_owned(), 0),
        ("DefaultBinder".to_owned(), 0),
    ];
    for (name, weight) in [("A", 2), ("B", 3)] {
        let mut puppet = Puppet {
            name,
            pre_filter: || Ok(None),
            filter: || Ok(()),
            score: 10,
            reserve: || Ok(()),
            log: log.clone(),
        };
        change(&mut puppet);
        plugins.push(Arc::new(puppet));
        enabled.push((name.to_owned(), weight));
    }
    profile.multi_point = PluginSet {
        enabled,
        disabled: Vec::new(),
    };
    (Framework::new(&profile, &plugins).unwrap(), log)
}

fn names(list: &[&str]) -> NodeNames {
    Some(list.iter().map(|n| intern(n)).collect::<BTreeSet<_>>())
}

fn pre_filter(framework: &Framework) -> Result<NodeNames, Status> {
    let pod = testing::asking("1", "1");
    let mut state = CycleState::default();
    framework
        .pre_filter(&mut state, &pod, &Snapshot::default())
        .map(|(names, _)| names)
}

#[test]
fn prefilter_intersects_and_names_who_cannot_agree() {
    let (framework, _) = stage(|p| {
        p.pre_filter = if p.name == "A" {
            || Ok(names(&["x", "y"]))
        } else {
            || Ok(names(&["y"]))
        };
    });
    assert_eq!(pre_filter(&framework), Ok(names(&["y"])));
    let (framework, _) = stage(|p| {
        p.pre_filter = if p.name == "A" {
            || Ok(names(&["x"]))
        } else {
            || Ok(names(&["y"]))
        };
    });
    let status = pre_filter(&framework).unwrap_err();
    assert_eq!(
        status.message(),
        "node(s) didn't satisfy plugin(s) [A B] simultaneously"
    );
    assert_eq!(status.code, Code::UnschedulableAndUnresolvable);
}

#[test]
fn prefilter_goes_on_after_unschedulable_and_stops_at_unresolvable() {
    let (framework, log) = stage(|p| p.pre_filter = || Err(Status::unschedulable("no")));
    assert_eq!(
        pre_filter(&framework).unwrap_err().plugin,
        "B",
        "the last one"
    );
    assert_eq!(log.lock().unwrap().len(), 2);
    let (framework, log) = stage(|p| p.pre_filter = || Err(Status::unresolvable("never")));
    assert_eq!(pre_filter(&framework).unwrap_err().plugin, "A");
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[test]
fn a_skipped_plugin_does_not_filter_and_the_first_rejection_ends_it() {
    let (framework, log) = stage(|p| {
        if p.name == "A" {
            p.pre_filter = || Err(Status::skip());
        }
        p.filter = || Err(Status::unschedulable("no"));
    });
    let pod = testing::asking("1", "1");
    let node = testing::sized("n", "1", "1", &[]);
    let mut state = CycleState::default();
    framework
        .pre_filter(&mut state, &pod, &Snapshot::default())
        .unwrap();
    assert_eq!(
        framework.filter(&state, &pod, &node).unwrap_err().plugin,
        "B"
    );
    assert_eq!(log.lock().unwrap()[2..], ["B Filter"]);
    let again = framework.filter(&CycleState::default(), &pod, &node);
    assert_eq!(again.unwrap_err().plugin, "A", "no skip in a new cycle");
}

#[test]
fn scores_are_weighted_and_must_be_in_range() {
    let pod = testing::asking("1", "1");
    let nodes = [Arc::new(testing::sized("n", "1", "1", &[]))];
    let score = |framework: &Framework| {
        framework.score(
            &mut CycleState::default(),
            &pod,
            &nodes,
            &Snapshot::default(),
        )
    };
    assert_eq!(score(&stage(|_| {}).0), Ok(vec![50]));
    let (framework, _) = stage(|p| p.score = if p.name == "A" { -1 } else { 10 });
    assert_eq!(score(&framework), Ok(vec![30]), "A has nothing to say");
    let (framework, _) = stage(|p| p.score = 101);
    assert_eq!(score(&framework).unwrap_err().code, Code::Error);
}

#[test]
fn a_failed_reserve_unreserves_all_in_reverse() {
    let (framework, log) = stage(|p| {
        if p.name == "B" {
            p.reserve = || Err(Status::unschedulable("taken"));
        }
    });
    let pod = testing::asking("1", "1");
    assert_eq!(
        framework
            .reserve(&CycleState::default(), &pod, "n")
            .unwrap_err()
            .plugin,
        "B"
    );
    assert_eq!(
        *log.lock().unwrap(),
        ["A Reserve", "B Reserve", "B Unreserve", "A Unreserve"]
    );
}

#[test]
fn postfilter_collects_why_nothing_helps() {
    let (framework, _) = stage(|_| {});
    let pod = testing::asking("1", "1");
    let context = PostFilterContext {
        framework: &framework,
        state: &CycleState::default(),
        pod: &pod,
        snapshot: &Snapshot::default(),
        error: &FitError::default(),
        random: 0,
    };
    let (reasons, clear) = framework.post_filter(&context).unwrap_err();
    assert_eq!(reasons, ["A cannot help", "B cannot help"]);
    assert!(!clear);
}

#[test]
fn profiles_that_make_no_sense_are_refused() {
    let plugins = registry(Arc::new(IntentBook::default()));
    let with = |change: fn(&mut Profile)| {
        let mut profile = Profile::new("s");
        change(&mut profile);
        Framework::new(&profile, &plugins).err()
    };
    assert_eq!(with(|_| {}), None);
    let unknown = with(|p| p.multi_point.enabled.push(("Nope".into(), 0)));
    assert!(matches!(unknown, Some(Error::UnknownPlugin { .. })));
    let misplaced = with(|p| {
        let enabled = vec![("NodeName".to_owned(), 1)];
        p.points.insert(
            Point::Score,
            PluginSet {
                enabled,
                disabled: Vec::new(),
            },
        );
    });
    assert!(matches!(misplaced, Some(Error::NoSuchPoint { .. })));
    let without = |name: &'static str| {
        let mut profile = Profile::new("s");
        profile.multi_point.disabled.push(name.into());
        Framework::new(&profile, &plugins).err()
    };
    assert_eq!(without("PrioritySort"), Some(Error::QueueSort("s".into())));
    assert_eq!(without("DefaultBinder"), Some(Error::Bind("s".into())));
}
