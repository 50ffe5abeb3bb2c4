//! Pairs to which anything happens at any moment: the desk's story is whole, and the call ends once.

use kernel::Ids;
use voice::cause::Cause;
use voice::leg::{LegEvent, PlayId, Signal};
use voice::runner::script::{Asked, ScriptedLeg};

use super::pairing::{ANN, BOB, number, order, paired, stage};
use super::stage::*;
use crate::*;

/// Pairs that are tried, and what happens to each at most.
const CASES: u64 = 60;
const STEPS: u32 = 25;
/// The talk limit of each, in milliseconds.
const LIMIT_MS: i64 = 90_000;
/// Longer than a call that was told to end waits for its legs, in milliseconds.
const LONG_MS: i64 = 45_000;

/// A party's phone: it hangs up when told to, sooner or later.
struct Phone {
    far: ScriptedLeg,
    told_to_end: bool,
    plays: Option<PlayId>,
}

impl Phone {
    fn listen(&mut self) {
        for asked in self.far.asked() {
            match asked {
                Asked::Signal(Signal::Hangup(_)) => self.told_to_end = true,
                Asked::Play(play, ..) => self.plays = Some(play),
                _ => {}
            }
        }
    }

    /// Something happens to it, as chance has it.
    fn happens(&mut self, chance: &Ids) {
        let event = match chance.below(24) {
            0..=3 => LegEvent::Ringing,
            4..=14 => answered(),
            15 => remote_end(Cause::Normal, None),
            16 => remote_end(Cause::Busy, Some(486)),
            17 => local_end(Cause::MediaTimeout),
            18 | 19 => LegEvent::Held,
            _ => match self.plays {
                Some(play) => LegEvent::PlayEnded { play },
                None => LegEvent::Resumed,
            },
        };
        self.far.tell(event);
    }
}

/// The story is whole: who talked was parted once, no longer than they might, and the end is told once, at last.
fn check(seed: u64, heard: &[PairEvent], longest_ms: i64) {
    let mut talks = false;
    for (n, event) in heard.iter().enumerate() {
        match event {
            PairEvent::Bridged { .. } => assert!(!std::mem::replace(&mut talks, true), "{seed}: {heard:?}"),
            PairEvent::Unbridged { talked_ms, .. } => {
                assert!(std::mem::take(&mut talks), "{seed}: {heard:?}");
                assert!((0..=longest_ms).contains(talked_ms), "{seed}: {heard:?}");
            }
            PairEvent::Ended { .. } => assert_eq!(n + 1, heard.len(), "{seed}: {heard:?}"),
            _ => {}
        }
    }
    assert!(!talks && matches!(heard.last(), Some(PairEvent::Ended { .. })), "{seed}: {heard:?}");
}

/// Whether the two came to talk.
async fn whatever_happens(stage: &mut Stage, seed: u64) -> bool {
    let chance = Ids::seeded(seed);
    let wanted = PairOrder { limit_ms: LIMIT_MS, record: true, ..order(stage, number(ANN), number(BOB)) };
    let (handle, notes) = paired(stage, wanted).await;
    let mut phones: Vec<Phone> = Vec::new();
    let mut longest_ms = LIMIT_MS;
    for _ in 0..STEPS {
        tokio::time::sleep(std::time::Duration::from_micros(chance.below(6_000))).await;
        while let Some(dialled) = stage.try_dialled() {
            phones.push(Phone { far: dialled.far, told_to_end: false, plays: None });
        }
        phones.iter_mut().for_each(Phone::listen);
        // Rather the newest.
        let which = phones.len().saturating_sub(1 + usize::try_from(chance.below(3) / 2).unwrap());
        match chance.below(12) {
            0 => stage.hand.advance(i64::try_from(chance.below(50_000)).unwrap()),
            2 => {
                let limit_ms = i64::try_from(chance.below(200_000)).unwrap();
                longest_ms = longest_ms.max(limit_ms);
                handle.set_limit(limit_ms);
            }
            3 if chance.below(4) == 0 => handle.hang_up(Cause::Normal),
            4 if chance.below(4) == 0 => stage.calls.hangup(&stage.org.id, handle.call_id()).await.unwrap(),
            _ => phones.get_mut(which).into_iter().for_each(|phone| phone.happens(&chance)),
        }
    }
    handle.hang_up(Cause::Canceled);
    within(async {
        while stage.calls.pair_handle(&stage.org.id, handle.call_id()).is_some() {
            while let Some(dialled) = stage.try_dialled() {
                phones.push(Phone { far: dialled.far, told_to_end: false, plays: None });
            }
            phones.iter_mut().for_each(Phone::listen);
            phones.iter().filter(|phone| phone.told_to_end).for_each(|phone| {
                phone.far.tell(local_end(Cause::Normal));
            });
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    check(seed, &notes.heard(), longest_ms);
    // What was recorded is given up in time, if nobody says what became of it.
    stage.hand.advance(LONG_MS);
    stage.quiet().await;
    let kinds = stage.kinds(handle.call_id()).await;
    let completed = kinds.iter().filter(|kind| *kind == "call.completed").count();
    assert_eq!(completed, 1, "{seed}: {kinds:?}");
    notes.heard().iter().any(|event| matches!(event, PairEvent::Bridged { .. }))
}

#[tokio::test]
async fn the_desk_s_story_is_whole_whatever_happens() {
    let mut stage = stage().await;
    let mut talked = 0;
    for seed in 0..CASES {
        talked += u64::from(whatever_happens(&mut stage, seed).await);
    }
    assert!(talked > CASES / 10, "chance brings {talked} of {CASES} to talk: too few to show anything");
}
