//! `connect` (`dial`): rings somebody and joins him with the customer (contracts/flows.md "connect end").

use std::sync::Arc;

use super::{
    Context, Exit, Running, Turn,
    call::MAX_TIME,
    prompt::{Music, Prepared, Preparing, Prompt},
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
            hold_music: Music::read(fields),
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
    let mut connecting = Connecting {
        connect: connect.clone(),
        whisper: Sound::None,
        music: Sound::None,
        plan: Some((targets, caller_id)),
    };
    connecting.prepare(context);
    connecting.dial_when_ready(context);
    Turn::Wait(Box::new(connecting))
}

struct Connecting {
    connect: Arc<Connect>,
    whisper: Sound,
    music: Sound,
    /// Numbers and caller id until they are dialled.
    plan: Option<(Vec<String>, Option<String>)>,
}

enum Sound {
    None,
    Preparing(Preparing),
    Ready(u64),
}

impl Sound {
    fn ask(prompt: Option<&Prompt>, context: &mut Context<'_>) -> Self {
        match prompt.map(|prompt| prompt.prepare(context)) {
            Some(Ok(preparing)) => Self::Preparing(preparing),
            Some(Err(_)) | None => Self::None,
        }
    }

    /// A sound that cannot be had is left out: the connection matters more.
    fn on(&mut self, input: &Input, context: &mut Context<'_>) {
        if let Self::Preparing(preparing) = self
            && let Some(prepared) = preparing.on(input, context)
        {
            *self = match prepared {
                Prepared::Ready(sound) => Self::Ready(sound),
                Prepared::Failed(_) => Self::None,
            };
        }
    }

    fn ready(&self) -> Option<u64> {
        match self {
            Self::Ready(sound) => Some(*sound),
            Self::None | Self::Preparing(_) => None,
        }
    }
}

impl Connecting {
    fn prepare(&mut self, context: &mut Context<'_>) {
        let connect = self.connect.clone();
        self.whisper = Sound::ask(connect.whisper.as_ref(), context);
        if let Some(Music::Prompt(prompt)) = &connect.hold_music {
            self.music = Sound::ask(Some(prompt), context);
        }
    }

    fn dial_when_ready(&mut self, context: &mut Context<'_>) {
        if matches!(self.whisper, Sound::Preparing(_)) || matches!(self.music, Sound::Preparing(_)) {
            return;
        }
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
            whisper: self.whisper.ready(),
            accept_key: self.connect.accept_key,
            hold_music,
            record: self.connect.record,
        }));
    }
}

impl Running for Connecting {
    fn on(&mut self, input: &Input, context: &mut Context<'_>) -> Option<Exit> {
        if let Input::ConnectEnded { status } = input {
            context.variables.set("connect.status", status.as_str());
            return Some(Exit::by(status.as_str()));
        }
        self.whisper.on(input, context);
        self.music.on(input, context);
        self.dial_when_ready(context);
        None
    }
}
