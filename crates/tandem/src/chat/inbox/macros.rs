//! Macros: several things that agents do in a room one after the other.
//!
//! Invariant: each step is done as if the agent had done it by hand, with the agent's own rights; the first one that
//! fails ends the run, and is told.

use kernel::{Problem, RecordError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::canned::{self, Names, invalid};
use super::moves::To;
use super::tags;
use crate::chat::model::Draft;
use crate::chat::{Asker, Change, ChatError, Chats};

/// Steps of a macro.
const MAX_STEPS: usize = 20;
/// Longest id in a step, bytes.
const MAX_ID: usize = 64;
/// The person who runs the macro.
const ME: &str = "me";

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Step {
    /// Write to the visitor; placeholders as in canned replies.
    Reply {
        /// The text.
        text: String,
    },
    /// Note something.
    Note {
        /// The text.
        text: String,
    },
    /// Add a tag.
    Tag {
        /// The tag.
        tag: String,
    },
    /// Hand over to a team.
    Team {
        /// `team_…`; null = anybody.
        team: Option<String>,
    },
    /// Hand over to a person.
    Assign {
        /// `per_…`, or `me`.
        person: String,
    },
    /// Close the room.
    Close {},
}

impl Step {
    fn word(&self) -> &'static str {
        match self {
            Self::Reply { .. } => "reply",
            Self::Note { .. } => "note",
            Self::Tag { .. } => "tag",
            Self::Team { .. } => "team",
            Self::Assign { .. } => "assign",
            Self::Close {} => "close",
        }
    }

    fn check(&self) -> Result<(), RecordError> {
        let id = |id: &str| id.len() <= MAX_ID && !id.contains('\0');
        match self {
            Self::Reply { text } | Self::Note { text } => canned::text("steps", text),
            Self::Tag { tag } => tags::checked(tag).map(drop),
            Self::Team { team: Some(team) } if !id(team) => Err(invalid("steps", "there is no such team")),
            Self::Assign { person } if !id(person) => Err(invalid("steps", "nobody has this id")),
            _ => Ok(()),
        }
    }
}

/// A macro.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Macro {
    /// `mac_…`
    pub(super) id: String,
    /// Name for people.
    pub(super) name: String,
    /// 1 to 20.
    pub(super) steps: Vec<Step>,
}

impl Macro {
    /// Checks what somebody wrote.
    ///
    /// # Errors
    /// The field that is wrong.
    pub(super) fn checked(mut self) -> Result<Self, RecordError> {
        self.name = canned::line("name", &self.name)?;
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            return Err(invalid("steps", format!("1 to {MAX_STEPS}")));
        }
        self.steps.iter().try_for_each(Step::check)?;
        Ok(self)
    }
}

/// What became of a run.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Run {
    /// So many steps were done.
    done: usize,
    /// The step that failed; those behind it were not tried.
    failed: Option<Failed>,
}

/// A step that failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Failed {
    /// From 1.
    step: usize,
    /// Its word.
    r#do: &'static str,
    /// A word of `/v1/errors`.
    code: &'static str,
    /// A sentence.
    message: String,
}

impl Chats {
    /// Does the steps of a macro in a room.
    ///
    /// # Errors
    /// [`ChatError`] when the asker may not see the room; what a step says stands in the answer.
    pub(super) async fn run_macro(&self, asker: &Asker, room: &str, wanted: &Macro) -> Result<Run, ChatError> {
        let names = self.names(asker, &self.room(asker, room).await?).await?;
        let mut run = Run::default();
        for step in &wanted.steps {
            if let Err(error) = self.do_step(asker, room, step, &names).await {
                let problem = Problem::from(error);
                let said = problem.errors.first().map(|error| error.message.clone());
                let message = said.or_else(|| problem.detail.clone()).unwrap_or_else(|| problem.code.title.to_owned());
                let code = problem.code.code;
                run.failed = Some(Failed { step: run.done + 1, r#do: step.word(), code, message });
                return Ok(run);
            }
            run.done += 1;
        }
        Ok(run)
    }

    async fn do_step(&self, asker: &Asker, room: &str, step: &Step, names: &Names) -> Result<(), ChatError> {
        match step {
            Step::Reply { text } => {
                let draft = Draft { author: names.agent.clone(), ..Draft::text(&canned::fill(text, names)) };
                self.send(asker, room, draft).await.map(drop)
            }
            Step::Note { text } => self.note(asker, room, &canned::fill(text, names)).await.map(drop),
            Step::Tag { tag } => self.add_tag(asker, room, tag).await,
            Step::Team { team } => self.transfer(asker, room, &To::Team(team.clone()), None).await.map(drop),
            Step::Assign { person } if person == ME => self.take(asker, room).await.map(drop),
            Step::Assign { person } => self.transfer(asker, room, &To::Person(person.clone()), None).await.map(drop),
            Step::Close {} => self.change(asker, room, &Change::Close, |_| Vec::new()).await.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_and_checked() {
        let steps =
            r#"[{"do":"reply","text":"Hi"},{"do":"team","team":null},{"do":"assign","person":"me"},{"do":"close"}]"#;
        let steps: Vec<Step> = serde_json::from_str(steps).unwrap();
        let words: Vec<&str> = steps.iter().map(Step::word).collect();
        assert_eq!(words, ["reply", "team", "assign", "close"]);
        let good = Macro { id: String::new(), name: " Spam ".into(), steps };
        assert_eq!(good.clone().checked().unwrap().name, "Spam");
        assert!(Macro { steps: Vec::new(), ..good.clone() }.checked().is_err());
        assert!(Macro { steps: vec![Step::Close {}; MAX_STEPS + 1], ..good.clone() }.checked().is_err());
        assert!(Macro { steps: vec![Step::Tag { tag: " ".into() }], ..good }.checked().is_err());
        for wrong in [r#"{"do":"dance"}"#, r#"{"do":"close","now":true}"#, r#"{"text":"x"}"#] {
            assert!(serde_json::from_str::<Step>(wrong).is_err(), "{wrong}");
        }
    }
}
