//! What the machine orders of a call and of a chat alike: said once, for both.

use calls::{Conversation, driver::Queueing};
use serde_json::json;

use super::{
    machine::{Effect, QueueOrder},
    store,
};

/// Gives an order to whoever carries the words; back comes what only a call knows, and what is said, for each has words
/// of its own. `run`: its organisation and its id.
pub(super) fn give<C: Conversation + ?Sized>(to: &mut C, run: (&str, &str), effect: Effect) -> Option<Effect> {
    match effect {
        Effect::Enter { step, sensitive } => {
            let step = (step.id.as_str(), step.kind);
            to.ask(step, sensitive);
            to.tell("step.started", step, json!({}));
        }
        Effect::Emit { kind, step, data } => to.tell(kind, (step.id.as_str(), step.kind), data),
        Effect::SaveVariables(variables) => to.keep(vec![store::variables_write(run.0, run.1, variables)]),
        Effect::Queue(QueueOrder { team, timeout_ms, max_waiting, joined_ms }) => to.hand_over(Queueing {
            team,
            timeout_ms: timeout_ms.into(),
            max_waiting: usize::try_from(max_waiting).unwrap_or(usize::MAX),
            joined_ms,
        }),
        Effect::Hangup { cause } => to.end(cause),
        other => return Some(other),
    }
    None
}
