use proptest::prelude::*;

use super::*;
use crate::scheduler::framework::{Framework, Point};
use crate::scheduler::intents::IntentBook;
use crate::scheduler::plugins::registry_with;

const HEAD: &str = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

fn profile(plugins: &str) -> crate::scheduler::framework::Profile {
    let text = format!("{HEAD}profiles:\n- plugins: {plugins}\n");
    parse(&text)
        .unwrap_or_else(|p| panic!("{p}"))
        .profiles()
        .remove(0)
}

#[test]
fn every_known_plugin_that_is_built_has_the_points_that_the_table_says() {
    let built = registry_with(
        std::sync::Arc::new(IntentBook::default()),
        &PluginArgs::default(),
    );
    for plugin in &built {
        let points = known::points_of(plugin.name()).unwrap_or_else(|| panic!("{}", plugin.name()));
        assert!(!points.is_empty());
    }
}

#[test]
fn a_star_spares_the_actions_and_a_name_does_not() {
    let framework = |plugins: &str| {
        let profile = profile(plugins);
        let built = registry_with(std::sync::Arc::new(IntentBook::default()), &profile.args);
        Framework::new(&profile, &built).unwrap()
    };
    let bare = framework(
        "{multiPoint: {disabled: [{name: '*'}], enabled: [{name: PrioritySort}, {name: DefaultBinder}]}, \
         preFilter: {disabled: [{name: '*'}]}}",
    );
    assert!(bare.runs("ActionIntent") && !bare.runs("NodeName") && !bare.scores());
    assert!(
        !bare.lacks("InterPodAffinity"),
        "switched off is not missed"
    );
    let without = framework("{multiPoint: {disabled: [{name: ActionIntent}]}}");
    assert!(!without.runs("ActionIntent") && without.runs("NodeName"));
}

#[test]
fn weights_are_overridden_in_place() {
    let profile = profile(
        "{multiPoint: {enabled: [{name: TaintToleration, weight: 9}]}, score: {enabled: [{name: ImageLocality, weight: 4}]}}",
    );
    let has = |name: &str| known::points_of(name).is_some_and(|p| p.contains(&Point::Score));
    let scorers = profile.expand(Point::Score, &has);
    let first: Vec<_> = scorers
        .iter()
        .take(3)
        .map(|(n, w)| (n.as_str(), *w))
        .collect();
    assert_eq!(
        first,
        [
            ("ImageLocality", 4),
            ("TaintToleration", 9),
            ("NodeAffinity", 2)
        ]
    );
}

#[test]
fn percentages_fall_back_to_the_global_one() {
    let text = format!(
        "{HEAD}percentageOfNodesToScore: 30\nprofiles: [{{schedulerName: a}}, {{schedulerName: b, percentageOfNodesToScore: 0}}]\n"
    );
    let profiles = parse(&text).unwrap().profiles();
    let percentages: Vec<u32> = profiles
        .iter()
        .map(|p| p.percentage_of_nodes_to_score)
        .collect();
    assert_eq!(percentages, [30, 0]);
}

proptest! {
    /// Whatever a file says, it is read or refused with places in it.
    #[test]
    fn no_text_is_too_strange(text in "[a-z:\\[\\]{}&*\\-\"'#|> \n0-9]{0,200}") {
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.0.is_empty());
        }
    }

    /// A broken line is told as a problem of that line or one after it, never as a panic.
    #[test]
    fn a_file_with_a_line_broken(line in 0..90_usize, noise in "[a-z0-9: \\[{'\"*&-]{0,12}") {
        let file = include_str!("../../../tests/scheduler_config/everything.yaml");
        let mut lines: Vec<&str> = file.lines().collect();
        let at = line % lines.len();
        lines[at] = &noise;
        let _ = parse(&lines.join("\n"));
    }
}
