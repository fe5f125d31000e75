//! `--jsonl`: a case a line in, an answer a line out.

use std::io::{BufRead, BufWriter, Write};

use serde_json::json;

use crate::scheduler::explain::Case;

/// Answers all. A line that cannot be answered is answered with an error, and the next one is read.
pub(super) fn answer_all(input: impl BufRead, output: impl Write) -> anyhow::Result<()> {
    let mut out = BufWriter::new(output);
    for line in input.lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = match serde_json::from_str::<Case>(&line) {
            Err(error) => json!({"result": "Error", "message": error.to_string()}),
            Ok(case) => {
                let (id, pod) = (case.id.clone(), case.pod.clone());
                match case.answer() {
                    Ok(answer) => serde_json::to_value(answer)?,
                    Err(error) => {
                        json!({"id": id, "pod": pod, "result": "Error", "message": error.to_string()})
                    }
                }
            }
        };
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn answers_what_it_can_and_says_what_it_cannot() {
        let case = json!({"id":"c1","pod":"d/p","objects":[
            {"kind":"Node","metadata":{"name":"n"},"status":{"allocatable":{"cpu":"1","pods":"9"}}},
            {"kind":"Pod","metadata":{"namespace":"d","name":"p","uid":"u"},
                "spec":{"schedulerName":"default-scheduler","containers":[{"name":"c"}]}}]});
        let nobody = json!({"id":"c2","pod":"d/q","objects":[]});
        let mut wrong = case.clone();
        wrong["config"] = json!({"apiVersion":"kubescheduler.config.k8s.io/v1",
            "kind":"KubeSchedulerConfiguration","profils":[]});
        let input = format!("{case}\n\n{{\n{nobody}\n{wrong}\n");
        let mut output = Vec::new();
        answer_all(input.as_bytes(), &mut output).unwrap();
        let answers: Vec<Value> = String::from_utf8(output)
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        let results: Vec<&str> = answers
            .iter()
            .map(|a| a["result"].as_str().unwrap())
            .collect();
        assert_eq!(results, ["Scheduled", "Error", "Error", "Error"]);
        assert_eq!(answers[0]["candidates"], json!(["n"]));
        assert_eq!(answers[2]["message"], "pod d/q is not among the objects");
        assert!(
            answers[3]["message"].as_str().unwrap().contains("profils"),
            "{}",
            answers[3]
        );
    }
}
