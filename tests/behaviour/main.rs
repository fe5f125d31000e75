//! The behaviour of an API server, case by case, on both: the sandbox's and a real one.
//!
//! A case (one `async fn`) asks, and writes down what was asked and answered; see [`case::Case`]. The
//! file of the same name below `answers/` is what the real API server said, ids, times and random names
//! taken out. Each run compares both servers with it. `WAM_RECORD=1 cargo test --test behaviour real`
//! records anew (after a change of a case, or for another Kubernetes): read what changed before it is kept.
//!
//! Both servers are shared by all cases of a run; each case has a namespace of its own.
//! `WAM_TEST_KUBECONFIG` names a real cluster to be used instead of the testbed.

// Clippy's exemption for tests does not reach their helper functions.
#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod case;
mod ground;
mod kube_module;
mod normal;
mod things;

/// Declares the cases of a module: each is a test on each ground.
macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const CASES: &[&str] = &[$(stringify!($name)),+];
        $(
            mod $name {
                #[tokio::test(flavor = "multi_thread")]
                async fn sandbox() {
                    crate::case::run(module_path!(), crate::ground::Ground::Sandbox, super::$name).await;
                }
                #[tokio::test(flavor = "multi_thread")]
                async fn real() {
                    crate::case::run(module_path!(), crate::ground::Ground::Real, super::$name).await;
                }
            }
        )+
    };
}

/// Declares the modules that hold cases.
macro_rules! concepts {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+
        const CONCEPTS: &[(&str, &[&str])] = &[$((stringify!($module), $module::CASES)),+];
    };
}

concepts!(
    apply, bad_input, bind, create, delete, evict, list, namespaces, patch, pods, quota, scale,
    update, validation, victims, watch
);

/// Every record belongs to a case, and how many there are is said (past the test harness's capture).
#[test]
fn every_record_has_its_case() {
    use std::io::Write as _;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/behaviour/answers");
    let mut stale = Vec::new();
    for concept in std::fs::read_dir(folder).unwrap() {
        let concept = concept.unwrap();
        let name = concept.file_name().into_string().unwrap();
        let cases = CONCEPTS.iter().find(|(known, _)| *known == name);
        for record in std::fs::read_dir(concept.path()).unwrap() {
            let record = record.unwrap().file_name().into_string().unwrap();
            let case = record.trim_end_matches(".txt");
            if !cases.is_some_and(|(_, cases)| cases.contains(&case)) {
                stale.push(format!("{name}/{record}"));
            }
        }
    }
    assert!(stale.is_empty(), "records without a case: {stale:?}");
    let count: usize = CONCEPTS.iter().map(|(_, cases)| cases.len()).sum();
    let _ = writeln!(
        std::io::stderr(),
        "behaviour: {count} cases in {} concepts, each on the sandbox and on a real API server",
        CONCEPTS.len()
    );
}
