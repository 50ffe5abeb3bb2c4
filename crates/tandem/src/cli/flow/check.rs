//! `tandem flow check`: what is wrong with a flow, what may not be as meant, and a drawing of it.

use std::path::PathBuf;

use calls::Directory;
use clap::Args;
use kernel::{Clock, Kernel, RecordError};
use serde_json::json;

use super::{Answer, CliError, read, refusal, warnings};
use crate::flows::model::Flow;
use crate::flows::steps::{Kind, written::unknown_steps};
use crate::flows::{Judge, Purpose, Report, check_reading};

#[derive(Args, Debug)]
pub struct CheckFlow {
    file: PathBuf,
    /// Id or slug of an organisation: judge also what only its data can tell, such as numbers and caller ids
    #[arg(long)]
    org: Option<String>,
    /// Judge it as one that answers chats: tell the steps that a chat does not know
    #[arg(long)]
    chat: bool,
}

impl CheckFlow {
    /// Whether the organisation's data is asked for.
    pub(crate) fn needs_store(&self) -> bool {
        self.org.is_some()
    }

    /// Judges the file alone.
    ///
    /// # Errors
    /// All of the flow's errors, and its warnings.
    pub(crate) fn run_alone(&self) -> Result<Answer, CliError> {
        let checked = check_reading(&read(&self.file)?, Purpose::Save, Clock::system().now_ms());
        self.answer(checked.flow, checked.report)
    }

    /// The same with the organisation's data, as a dry run does.
    ///
    /// # Errors
    /// All of the flow's errors, and its warnings.
    pub(super) async fn run(self, kernel: &Kernel) -> Result<Answer, CliError> {
        let Some(org) = &self.org else { return self.run_alone() };
        let org = kernel.find_org(org).await?;
        let directory = Directory::open(kernel.clone()).await.map_err(RecordError::Db)?;
        let judge = Judge { kernel, directory: &directory };
        let judged = judge.judge(&org.id, &read(&self.file)?, Purpose::Save).await;
        let (flow, report) = judged.map_err(CliError::because)?;
        self.answer(flow, report)
    }

    fn answer(&self, flow: Option<Flow>, mut report: Report) -> Result<Answer, CliError> {
        let flow = flow.ok_or_else(|| refusal(&report))?;
        if self.chat {
            for (path, message) in unknown_steps(&flow) {
                report.warn("call_step", path, message);
            }
        }
        let drawing = draw(&flow);
        let posted = flow.steps.first().is_some_and(|step| matches!(step.kind, Kind::Call(_)));
        let hint = if posted || self.chat {
            ""
        } else {
            "\n  it begins without a call: a number can lead to it, posted it is refused"
        };
        Ok(Answer {
            text: format!("{drawing}{}{hint}", warnings(&report.warnings)),
            json: json!({
                "id": self.file.display().to_string(),
                "steps": flow.steps.len(),
                "warnings": report.warnings,
                "drawing": drawing,
            }),
        })
    }
}

/// A flow as text: a line a step, an arrow an edge.
fn draw(flow: &Flow) -> String {
    let name = |index: usize| flow.steps.get(index).map_or_else(String::new, |step| step.id.to_string());
    let lines: Vec<String> = flow
        .steps
        .iter()
        .map(|step| {
            let mut arrows: Vec<String> =
                step.edges.named.iter().map(|(edge, target)| format!("{edge} -> {}", name(*target))).collect();
            arrows.extend(step.edges.next.map(|target| format!("-> {}", name(target))));
            let leads = if arrows.is_empty() { "ends".to_owned() } else { arrows.join(", ") };
            format!("{:>6}  {:<10} {leads}", step.id.to_string(), step.kind.name())
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Answer, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flow.json");
        std::fs::write(&file, text).unwrap();
        CheckFlow { file, org: None, chat: false }.run_alone()
    }

    #[test]
    fn the_sample_is_drawn_and_its_warnings_are_told() {
        let answer = checked(include_str!("../demo/sample.json")).unwrap();
        let begins = "     0  call       -> 1\n     1  play       -> 2\n     2  digits     * -> 5\n";
        assert!(answer.text.starts_with(begins), "{}", answer.text);
        assert!(answer.text.contains("\n  warning unreachable_step at /flow/5: "), "{}", answer.text);
        assert_eq!(answer.json["steps"], 7);
    }

    #[test]
    fn every_error_is_told_at_once_with_its_place_and_the_warnings_too() {
        let said = checked(
            r#"{"flow":[{"id":1,"type":"play","next_step":9},{"id":1,"type":"hangup"},{"id":2,"type":"hangup","colour":1},]}"#,
        );
        let said = said.unwrap_err().to_string();
        for code in
            ["unknown_step", "duplicate_id", "text_or_url_required", "warning unknown_field", "warning lenient_json"]
        {
            assert!(said.contains(code), "{code}: {said}");
        }
    }

    #[test]
    fn a_flow_for_chats_is_told_what_a_chat_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flow.json");
        std::fs::write(&file, include_str!("../demo/sample.json")).unwrap();
        let answer = CheckFlow { file, org: None, chat: true }.run_alone().unwrap();
        let told: Vec<&str> = answer.text.lines().filter(|line| line.contains("call_step")).collect();
        assert_eq!(told.len(), 3, "{}", answer.text);
        assert!(told[0].contains("/flow/3/type: a chat does not know callback"), "{}", answer.text);
        assert!(told[2].contains("/flow/6/type: a chat does not know connect"), "{}", answer.text);
    }

    #[test]
    fn a_flow_that_cannot_be_posted_says_so() {
        let answer = checked(r#"{"flow":[{"id":1,"type":"play","text":"x"}]}"#).unwrap();
        assert!(answer.text.contains("begins without a call"), "{}", answer.text);
    }
}
