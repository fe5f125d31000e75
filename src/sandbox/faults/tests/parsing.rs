//! Lines and files.

use super::*;

#[test]
fn a_rule_is_told_as_it_is_read() {
    for line in [
        "patch deployments 429 retry-after=1s p=0.1",
        "* * 429 retry-after=30s body=status",
        "get,list * latency=200ms",
        "* * latency=50ms..2s p=0.5 for=10s",
        "update,patch pods/status 409 ns=a,b name=web-* agent=wam/* skip=2 count=3",
        "create pods/binding 409",
        "patch */scale 500 done=true",
        "create pods 500",
        "create pods 503 retry-after=1s",
        "create pods 504",
        "list pods 410 after=0",
        "watch pods.,deployments.apps 410 after=3",
        "watch * 410 as=http",
        "watch pods cut after=5s torn=true",
        "list pods stale behind=10",
        "list pods stale behind=3 quorum=true",
        "patch deployments,pods/* lost-reply count=1",
        "get widgets.example.com reset",
        "get /readyz,/api* 503 retry-after=2s",
        "get */scale,* reset",
        "* * refused for=5s",
    ] {
        let rule: Rule = line.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rule.to_string(), line);
        assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
    }
    let short: Rule = "watch pods cut".parse().unwrap();
    assert_eq!(short.to_string(), "watch pods cut after=1");
    let words: Rule = "read,delete pods reset".parse().unwrap();
    assert_eq!(words.to_string(), "get,list,watch,delete pods reset");
}

#[test]
fn nonsense_is_refused_and_says_why() {
    for (line, why) in [
        ("", "it needs verbs"),
        ("patch pods", "it needs verbs"),
        ("patch pod 500", "did you mean \"pods\"?"),
        ("patch deploy 500", "did you mean \"deployments\"?"),
        ("patch gizmos 500", "no resource \"gizmos\""),
        ("patch pods.apps 500", "no resource \"pods\""),
        ("patch pods/bindin 500", "no subresource \"bindin\""),
        ("bind pods 500", "no verb \"bind\""),
        ("patch pods 418", "no fault \"418\""),
        ("patch pods 500 done", "write OPTION=VALUE"),
        ("patch pods 500 done=maybe", "done: write true or false"),
        (
            "patch pods 500 retry-after=1s",
            "500 has no option \"retry-after\"",
        ),
        (
            "patch pods 429 retry-after=1",
            "retry-after: \"1\" is no duration",
        ),
        ("patch pods 429 retry-after=100ms", "whole seconds"),
        ("patch pods 429 p=2", "p: \"2\" is no probability"),
        ("patch pods 429 p=", "p: it is empty"),
        ("patch pods 429 p=1 p=1", "p is given twice"),
        (
            "patch pods 429 count=some",
            "count: \"some\" is no whole number",
        ),
        ("patch pods 429 color=red", "429 has no option \"color\""),
        ("patch pods cut", "cut happens only to watch"),
        ("get pods stale", "stale happens only to list"),
        ("watch pods lost-reply", "lost-reply happens only to"),
        ("list pods 409", "409 happens only to"),
        ("create pods 409", "pods knows only"),
        ("patch pods/binding 500", "pods/binding knows only create"),
        ("watch pods 410 as=http after=3", "there is no stream"),
        (
            "watch pods cut after=soon",
            "neither a number of events nor a time",
        ),
        ("* * latency", "say how long"),
        ("* * latency=2s..1s", "the first is the longer one"),
        ("* * 429=1", "429 takes its options after it"),
        ("* pods refused", "nobody listens, or somebody does"),
        ("* * refused p=0.5", "nobody listens, or somebody does"),
    ] {
        let error = line.parse::<Rule>().expect_err(line).to_string();
        assert!(error.contains(why), "{line}: {error}");
    }
}

#[test]
fn files_are_lines_or_a_list_of_them() {
    let lines = ["patch pods 500", "watch pods cut after=2"];
    for text in [
        "\n# a storm\npatch pods 500   # now and then\n\nwatch pods cut after=2\n",
        "- patch pods 500\n- watch pods cut after=2\n",
        "faults:\n- patch pods 500\n- fault: watch pods cut after=2\n",
        r#"{"seed": 1, "faults": [{"fault": "patch pods 500", "matched": 3, "injected": 1}, "watch pods cut after=2"]}"#,
        r#"["patch pods 500", "watch pods cut after=2"]"#,
    ] {
        let read = rules(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let told: Vec<String> = read.iter().map(Rule::to_string).collect();
        assert_eq!(told, lines, "{text}");
    }
    assert_eq!(rules("\n# nothing\n"), Ok(Vec::new()));
    for (text, why) in [
        ("patch pods 500\npatch pod 500", "did you mean"),
        ("- patch pods 500\n- 7", "neither lines nor a list"),
        ("{\"rules\": []}", "neither lines nor a list"),
        ("{", "neither lines nor a list"),
    ] {
        let error = rules(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}
