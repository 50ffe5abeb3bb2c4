//! Whoever dials a team that queues waits here: with music, and told where he stands if the team is set to tell.
//!
//! Invariant: words are never waited for; the music goes on until they are spoken.

use media::play::Sound;
use voice::cause::Cause;
use voice::leg::{PlayId, Playable};
use voice::ports::BoxFuture;
use voice::speech::Speech;

use crate::call::Call;
use crate::directory::TeamEntry;
use crate::driver::{CallEvent, QueueEvent, Queueing};
use crate::model::EndedBy;
use crate::queue::Left;
use crate::queue::announce::{Announcements, position_words};
use crate::service::Calls;

/// How long whoever dials a team's number waits, in milliseconds, and with how many others: as the step `queue` has it.
const WAIT_MS: i64 = 300_000;
const MAX_WAITING: usize = 100;

/// Lets the caller wait for a team's agent.
pub(crate) async fn wait(calls: &Calls, mut call: Call, team: &TeamEntry) {
    call.answer();
    let clock = calls.kernel().clock.clone();
    let mut lobby = Lobby {
        team: team.number.to_string(),
        tells: team.announces,
        speech: calls.speech().clone(),
        announcements: Announcements::default(),
        place: None,
        coming: None,
        spoken: None,
    };
    loop {
        let due_ms = lobby.due_ms();
        tokio::select! {
            event = call.next() => {
                if matches!(event, CallEvent::Ended { .. }) {
                    return;
                }
                lobby.take(event, &mut call);
            }
            sound = arrived(&mut lobby.coming), if lobby.coming.is_some() => lobby.say(sound, &mut call),
            () = clock.sleep_until(due_ms.unwrap_or(i64::MAX)), if due_ms.is_some() => lobby.announce(clock.now_ms()),
        }
    }
}

/// Words that are being spoken into memory; none = they cannot be had.
type Words = BoxFuture<'static, Option<Sound>>;

async fn arrived(words: &mut Option<Words>) -> Option<Sound> {
    match words {
        Some(words) => words.await,
        None => std::future::pending().await,
    }
}

struct Lobby {
    team: String,
    /// Callers are told where they stand.
    tells: bool,
    speech: Speech,
    announcements: Announcements,
    /// Where he stands and how long it may take; none while he does not wait.
    place: Option<(usize, Option<i64>)>,
    coming: Option<Words>,
    /// The words that he hears.
    spoken: Option<PlayId>,
}

impl Lobby {
    fn take(&mut self, event: CallEvent, call: &mut Call) {
        match event {
            CallEvent::Answered => call.queue(Queueing {
                team: self.team.clone(),
                timeout_ms: WAIT_MS,
                max_waiting: MAX_WAITING,
                joined_ms: None,
            }),
            CallEvent::Queue(QueueEvent::Joined { position, expected_ms }) => {
                self.place = Some((position, expected_ms));
                self.play_music(call);
            }
            CallEvent::Queue(QueueEvent::Moved { position, expected_ms }) => self.place = Some((position, expected_ms)),
            CallEvent::Queue(QueueEvent::Bridged { .. }) => {
                (self.place, self.coming, self.spoken) = (None, None, None);
                // What got ready while the two were brought together must not be heard over the agent.
                call.stop_play();
            }
            CallEvent::PlayEnded { play } if self.spoken == Some(play) => self.play_music(call),
            CallEvent::Queue(QueueEvent::Ended) => call.hangup(Cause::Normal, EndedBy::Target),
            CallEvent::Queue(QueueEvent::Left { why }) => {
                let cause = if why == Left::Full { Cause::Busy } else { Cause::NoAnswer };
                call.hangup(cause, EndedBy::System);
            }
            _ => {}
        }
    }

    fn play_music(&mut self, call: &mut Call) {
        self.spoken = None;
        call.play(Playable::HoldMusic, 0);
    }

    /// When he is to be told where he stands.
    fn due_ms(&self) -> Option<i64> {
        let (position, _) = self.place.filter(|_| self.tells && self.coming.is_none() && self.spoken.is_none())?;
        self.announcements.due_ms(position)
    }

    fn announce(&mut self, now_ms: i64) {
        let Some((position, expected_ms)) = self.place else { return };
        self.announcements.tell(position, now_ms);
        let (speech, words) = (self.speech.clone(), position_words(position, expected_ms));
        self.coming = Some(Box::pin(async move {
            let spoken = speech.say(&words, None, None).await;
            spoken.inspect_err(|error| tracing::warn!(%error, "a place in a queue could not be spoken")).ok()
        }));
    }

    fn say(&mut self, sound: Option<Sound>, call: &mut Call) {
        self.coming = None;
        self.spoken = sound.map(|sound| call.play(Playable::Sound(sound), 1));
    }
}
