//! What a step is in a chat (docs/contracts/chat.md, "Real time"): what needs an ear fails, and the flow goes on by the
//! edge that the author has for that; a queue hands over to people.

use voice::cause::Cause;

use super::{Context, Exit, Kind, Turn, queue};
use crate::flows::{machine::Effect, model::Flow};

/// Why a step of a call fails.
const UNKNOWN: &str = "a chat does not know this step";

/// Whether a chat knows a step.
fn is_known(kind: &Kind) -> bool {
    match kind {
        Kind::Play(_)
        | Kind::Digits(_)
        | Kind::Menu(_)
        | Kind::Http(_)
        | Kind::Queue(_)
        | Kind::Hangup
        | Kind::Pause(_)
        | Kind::Set(_)
        | Kind::Branch(_) => true,
        Kind::Call(_)
        | Kind::Connect(_)
        | Kind::Conference(_)
        | Kind::Callback(_)
        | Kind::Record(_)
        | Kind::Voicemail(_)
        | Kind::Transfer(_)
        | Kind::SendDtmf(_)
        | Kind::Stream(_) => false,
    }
}

/// Enters a step.
pub(crate) fn start(kind: &Kind, context: &mut Context<'_>) -> Turn {
    match kind {
        Kind::Queue(queue) => {
            context.push(Effect::Queue(queue::order(queue, None)));
            Turn::Done(Exit { falls_back: false, cause: None, ..Exit::by("handed_over") })
        }
        known if is_known(known) => known.start(context),
        _ => {
            let edge = if context.edges.named("failed").is_some() { "failed" } else { "fail" };
            // Nothing follows: people take over, for the visitor has not had what was meant for it.
            Turn::Done(Exit::failed(edge, UNKNOWN).or_cause(Cause::FlowError))
        }
    }
}

/// What of a flow a chat does not know: a JSON pointer and a sentence each. The entry of a posted flow is passed over.
pub(crate) fn unknown_steps(flow: &Flow) -> impl Iterator<Item = (String, String)> {
    let is_entry = |index: usize, kind: &Kind| index == 0 && matches!(kind, Kind::Call(_));
    let steps = flow.steps.iter().enumerate();
    let unknown = steps.filter(move |(index, step)| !(is_known(&step.kind) || is_entry(*index, &step.kind)));
    unknown.map(|(index, step)| {
        let message = format!(
            "a chat does not know {}: there the step \"{}\" takes its edge for a failure, else next_step",
            step.kind.name(),
            step.id
        );
        (format!("/flow/{index}/type"), message)
    })
}
