//! Who is struck, how often, and that it can be repeated.

use std::time::Duration;

use super::*;
use crate::clock;
use crate::sandbox::faults::asked::{Asked, matches};

fn asked(method: &str, path: &str, agent: &str) -> Asked {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("user-agent", agent).body(()).unwrap();
    Asked::of(&request.into_parts().0)
}

fn met(line: &str, method: &str, path: &str) -> bool {
    let faults = Faults::new(0);
    faults.add(line.parse().unwrap());
    faults.decide(&asked(method, path, "wam/1")).fault.is_some()
}

#[test]
fn patterns() {
    for (pattern, text, yes) in [
        ("wam/*", "wam/0.1", true),
        ("wam/*", "kubectl/1", false),
        ("*", "", true),
        ("a*c", "abc", true),
        ("a*c", "ac", true),
        ("a*c", "acb", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c", false),
        ("*-x-*", "a-x-b", true),
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("ab*b", "ab", false),
    ] {
        assert_eq!(matches(pattern, text), yes, "{pattern} {text}");
    }
}

#[test]
fn rules_choose_by_verb_resource_namespace_name_and_agent() {
    const POD: &str = "/api/v1/namespaces/a/pods/p";
    const PODS: &str = "/api/v1/namespaces/a/pods";
    for (line, method, path, yes) in [
        ("get pods reset", "GET", POD, true),
        ("get pods reset", "GET", PODS, false),
        ("list pods reset", "GET", "/api/v1/pods", true),
        ("list pods reset", "GET", "/api/v1/pods?watch=1", false),
        ("watch pods reset", "GET", "/api/v1/watch/pods", true),
        ("delete pods reset", "DELETE", POD, true),
        ("deletecollection pods reset", "DELETE", PODS, true),
        ("create pods reset", "POST", PODS, true),
        (
            "create pods reset",
            "POST",
            "/api/v1/namespaces/a/pods/p/binding",
            false,
        ),
        (
            "create pods/* reset",
            "POST",
            "/api/v1/namespaces/a/pods/p/binding",
            true,
        ),
        (
            "create */binding reset",
            "POST",
            "/api/v1/namespaces/a/pods/p/binding",
            true,
        ),
        (
            "create * reset",
            "POST",
            "/api/v1/namespaces/a/pods/p/binding",
            true,
        ),
        ("write pods reset", "PATCH", POD, true),
        ("read pods reset", "PATCH", POD, false),
        ("* * reset", "GET", "/readyz", false),
        ("* pods reset", "GET", "/readyz", false),
        ("get /readyz* reset", "GET", "/readyz/ping", true),
        ("get pods.apps.example reset", "GET", POD, false),
        (
            "get deployments.apps reset",
            "GET",
            "/apis/apps/v1/namespaces/a/deployments/d",
            true,
        ),
        ("get pods reset ns=a,b", "GET", POD, true),
        ("get pods reset ns=b", "GET", POD, false),
        ("get pods reset name=p*", "GET", POD, true),
        ("get pods reset name=q*", "GET", POD, false),
        ("get pods reset agent=wam/*", "GET", POD, true),
        ("get pods reset agent=kubectl*", "GET", POD, false),
        // A fault that cannot happen to a request passes it by.
        ("* * cut", "GET", POD, false),
        ("* * 409", "GET", POD, false),
        ("* * 409", "POST", PODS, false),
        (
            "* * 409",
            "POST",
            "/api/v1/namespaces/a/pods/p/binding",
            true,
        ),
        ("* * stale", "GET", "/api/v1/pods", false),
        ("* * stale", "GET", "/api/v1/pods?resourceVersion=0", true),
        ("* * stale quorum=true", "GET", "/api/v1/pods", true),
        (
            "* * stale quorum=true",
            "GET",
            "/api/v1/pods?continue=abc",
            false,
        ),
    ] {
        assert_eq!(met(line, method, path), yes, "{line}: {method} {path}");
    }
}

#[test]
fn one_seed_and_one_sequence_give_the_same_faults() {
    let struck = |seed| {
        let faults = Faults::new(seed);
        faults.set(
            rules("get pods 500 p=0.3\nget * latency=0s..1s p=0.5\nget * reset p=0.2").unwrap(),
        );
        let seen: Vec<String> = (0..500)
            .map(|n| {
                let kind = if n % 3 == 0 { "nodes" } else { "pods" };
                let decision = faults.decide(&asked("GET", &format!("/api/v1/{kind}/x"), ""));
                format!("{:?} {:?}", decision.delay, decision.fault)
            })
            .collect();
        (seen, faults.report())
    };
    let (first, report) = struck(1);
    assert_eq!(struck(1), (first.clone(), report.clone()));
    assert_ne!(struck(2).0, first);
    // Set again, they strike alike.
    let faults = Faults::new(1);
    let mut told = Vec::new();
    for _ in 0..2 {
        faults.set(rules("get pods 500 p=0.3").unwrap());
        told.push(
            (0..50)
                .map(|_| {
                    faults
                        .decide(&asked("GET", "/api/v1/pods/x", ""))
                        .fault
                        .is_some()
                })
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(told[0], told[1]);
    let share = |c: &Counted| c.injected as f64 / c.matched as f64;
    assert!((0.2..0.4).contains(&share(&report[0])), "{report:?}");
    assert!((0.4..0.6).contains(&share(&report[1])), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn rules_end_by_count_and_by_time() {
    let faults = Faults::new(0);
    faults.add("get pods 500 skip=2 count=3".parse().unwrap());
    let strikes = |faults: &Faults| {
        let asked = asked("GET", "/api/v1/pods/x", "");
        faults.decide(&asked).fault.is_some()
    };
    let struck: Vec<bool> = (0..8).map(|_| strikes(&faults)).collect();
    assert_eq!(
        struck,
        [false, false, true, true, true, false, false, false]
    );
    faults.set(rules("get pods 500 for=5s").unwrap());
    assert!(strikes(&faults));
    clock::sleep(Duration::from_secs(5)).await;
    assert!(!strikes(&faults));
    assert_eq!(faults.injected(), 4, "of rules that are gone too");
    // The first that strikes ends it; latencies add up before it.
    faults.set(rules("* * latency=1s\n* * latency=2s\n* * 503\n* * 500\n* * latency=9s").unwrap());
    let decision = faults.decide(&asked("GET", "/api/v1/pods/x", ""));
    assert_eq!(decision.delay, Duration::from_secs(3));
    assert_eq!(decision.fault.unwrap().name(), "503");
}
