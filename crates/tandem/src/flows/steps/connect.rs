//! `connect` (`dial`): rings somebody and joins him with the customer (contracts/flows.md "connect end").

use std::sync::Arc;

use super::{
    Context, Exit, Running, Turn,
    announcement::Announcing,
    call::MAX_TIME,
    prompt::{Music, Piece, Prompt},
};
use crate::flows::{
    check::fields::Fields,
    machine::{Connection, Effect, Input, Sounding, Strategy},
    template::Template,
};

pub(super) const EDGES: &[&str] = &["completed", "busy", "no_answer", "rejected", "failed"];
/// Most numbers in one step.
const MAX_TARGETS: usize = 20;

/// Configuration of a `connect` step.
#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    /// Whom to ring.
    pub targets: Vec<Template>,
    /// The caller id wished for.
    pub caller_id: Option<Template>,
    /// How long each rings, in milliseconds.
    pub timeout_ms: u32,
    /// How long they may talk, in seconds; none = as long as the call may last.
    pub time_limit_s: Option<u32>,
    /// All at once, or one after the other.
    pub strategy: Strategy,
    /// What the answering party hears before he is joined.
    pub whisper: Option<Prompt>,
    /// The key by which he accepts.
    pub accept_key: Option<char>,
    /// What the customer hears meanwhile.
    pub hold_music: Option<Music>,
    /// Whether the conversation is recorded.
    pub record: bool,
}

impl Connect {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let number = fields.number("number");
        let targets = fields.numbers("targets", MAX_TARGETS);
        let number_given = fields.value("number").is_some();
        let targets_given = fields.value("targets").is_some();
        if number_given && targets_given {
            fields.out_of_range("targets", "give number or targets, not both");
        } else if !number_given && !targets_given {
            fields.missing("number or targets");
        }
        let targets = targets.unwrap_or_else(|| number.into_iter().collect());
        Self {
            caller_id: fields.caller_id(targets.first()),
            timeout_ms: fields.seconds("timeout", 1.0..=600.0, 30.0),
            time_limit_s: fields
                .value("time_limit")
                .is_some()
                .then(|| fields.integer("time_limit", 1..=MAX_TIME, MAX_TIME)),
            strategy: fields.choice(
                "strategy",
                &[("simultaneous", Strategy::Simultaneous), ("sequential", Strategy::Sequential)],
                Strategy::Simultaneous,
            ),
            whisper: Prompt::read_field(fields, "whisper"),
            accept_key: fields.key("accept_key"),
            hold_music: Music::read(fields, "hold_music"),
            record: fields.flag("record", false),
            targets,
        }
    }
}

pub(super) fn start(connect: &Arc<Connect>, context: &mut Context<'_>) -> Turn {
    let numbers: Result<Vec<String>, _> =
        connect.targets.iter().map(|target| target.number(context.variables)).collect();
    let targets = match numbers {
        Ok(numbers) => numbers,
        Err(error) => {
            context.variables.set("connect.status", "failed");
            return Turn::Done(Exit::failed("failed", error.to_string()));
        }
    };
    // A caller id that cannot be filled is replaced like one that is not allowed.
    let caller_id = connect.caller_id.as_ref().and_then(|id| id.number(context.variables).ok());
    // Both sides hear that they are recorded: the customer before anybody is rung, the other before he is joined.
    let announcing = if connect.record { context.announce() } else { None };
    let recorded = connect.record || *context.recording;
    let whisper = [
        if recorded { Piece::announcement(context) } else { None },
        connect.whisper.as_ref().map(|prompt| Piece::ask(prompt, context)),
    ];
    let music = match &connect.hold_music {
        Some(Music::Prompt(prompt)) => Piece::ask(prompt, context),
        _ => Piece::Missing,
    };
    let mut connecting = Connecting {
        connect: connect.clone(),
        announcing,
        plan: Some((targets, caller_id)),
        whisper: whisper.into_iter().flatten().collect(),
        music,
    };
    if connecting.announcing.is_none() {
        connecting.dial(context);
    }
    Turn::Wait(Box::new(connecting))
}

/// Nobody waits for sounds: the phones ring at once, the customer hears a ringing tone until his music is there, and
/// what the answering party hears first is ready by then or follows.
struct Connecting {
    connect: Arc<Connect>,
    /// The customer hears that he is going to be recorded.
    announcing: Option<Announcing>,
    /// Numbers and caller id until they are dialled.
    plan: Option<(Vec<String>, Option<String>)>,
    /// What the answering party hears, until the call knows it.
    whisper: Vec<Piece>,
    music: Piece,
}

impl Connecting {
    fn dial(&mut self, context: &mut Context<'_>) {
        let Some((targets, caller_id)) = self.plan.take() else {
            return;
        };
        let hold_music = match &self.connect.hold_music {
            None => None,
            Some(Music::BuiltIn) => Some(Sounding::HoldMusic),
            Some(Music::Ringback) => Some(Sounding::Ringback),
            Some(Music::Silence) => Some(Sounding::Silence),
            Some(Music::Prompt(_)) => self.music.ready().map(Sounding::Sound),
        };
        context.push(Effect::Connect(Connection {
            targets,
            caller_id,
            timeout_ms: self.connect.timeout_ms,
            time_limit_ms: self.connect.time_limit_s.map(|seconds| u64::from(seconds) * 1000),
            strategy: self.connect.strategy,
            whisper: !self.whisper.is_empty(),
            accept_key: self.connect.accept_key,
            hold_music,
            record: self.connect.record,
        }));
        self.whisper_when_ready(context);
    }

    fn whisper_when_ready(&mut self, context: &mut Context<'_>) {
        if self.plan.is_none() && !self.whisper.is_empty() && self.whisper.iter().all(Piece::is_settled) {
            let sounds = self.whisper.drain(..).filter_map(|piece| piece.ready()).collect();
            context.push(Effect::Whisper(sounds));
        }
    }
}

impl Running for Connecting {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        if let Input::ConnectEnded { status } = input {
            context.variables.set("connect.status", status.as_str());
            return Some(Exit::by(status.as_str()));
        }
        for piece in &mut self.whisper {
            piece.on(input, context);
        }
        if self.music.on(input, context)
            && self.plan.is_none()
            && let Some(sound) = self.music.ready()
        {
            context.push(Effect::HoldMusic(Sounding::Sound(sound)));
        }
        match self.announcing {
            Some(announcing) if announcing.on(input, context.out) => {
                self.announcing = None;
                self.dial(context);
            }
            Some(_) => {}
            None => self.whisper_when_ready(context),
        }
        None
    }
}
