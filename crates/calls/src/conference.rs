//! The rules of a conference: who is in it, who is muted, who keeps its recording.
//!
//! Pure: what follows from a change comes out as [`Effect`]s, for the shell in [`crate::conferences`]. Invariant: a
//! recording is kept by one member at a time, and by one whenever it is wanted and somebody is there.

use std::sync::Arc;

use voice::leg::LegId;

/// Most members of a conference, whatever a step asks for.
pub const MAX_MEMBERS: u32 = 100;
/// Most members when nobody says otherwise.
pub const DEFAULT_MEMBERS: u32 = 50;

/// One who is in a conference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) leg: LegId,
    /// The call that the leg is of.
    pub(crate) call: Arc<str>,
    /// As others may see it.
    pub(crate) number: String,
    pub(crate) name: Option<String>,
    pub(crate) muted: bool,
    /// Asked for a recording when it came.
    pub(crate) records: bool,
    pub(crate) joined_at_ms: i64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The leg comes in, or is heard, or not, from now on.
    Cast { leg: LegId, muted: bool },
    /// The leg goes.
    Release(LegId),
    /// The only member is left to itself: it hears music.
    Alone(LegId),
    /// It is no longer.
    Company(LegId),
    /// The member's call begins to keep the recording.
    Record(LegId),
    /// The recording that this member keeps ends.
    StopRecording(LegId),
}

/// Why nobody comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The conference has as many members as the one that wants to come allows.
    Full,
    /// It is being recorded, which the one that wants to come does not know yet.
    Recorded,
}

/// A conference and its members.
#[derive(Debug)]
pub(crate) struct Conference {
    pub(crate) id: Arc<str>,
    pub(crate) started_at_ms: i64,
    /// Oldest first.
    pub(crate) members: Vec<Member>,
    /// Somebody asked for a recording by API.
    wanted: bool,
    /// Who keeps the recording.
    keeper: Option<LegId>,
}

impl Conference {
    /// An empty one.
    pub(crate) fn new(id: Arc<str>, now_ms: i64) -> Self {
        Self { id, started_at_ms: now_ms, members: Vec::new(), wanted: false, keeper: None }
    }

    /// A member comes, who allows no more than `max` with itself, and knows of a recording if `announced`.
    pub(crate) fn join(&mut self, member: Member, max: u32, announced: bool) -> Result<Vec<Effect>, Refused> {
        if self.members.len() >= max.clamp(1, MAX_MEMBERS) as usize {
            return Err(Refused::Full);
        }
        if self.is_recorded() && !announced {
            return Err(Refused::Recorded);
        }
        let leg = member.leg.clone();
        let mut effects = vec![Effect::Cast { leg: leg.clone(), muted: member.muted }];
        match &self.members[..] {
            [] => effects.push(Effect::Alone(leg)),
            [first] => effects.push(Effect::Company(first.leg.clone())),
            _ => {}
        }
        self.members.push(member);
        effects.extend(self.settle_recording());
        Ok(effects)
    }

    /// A member goes. Nothing when there is none of this leg.
    pub(crate) fn leave(&mut self, leg: &LegId) -> Vec<Effect> {
        let Some(index) = self.members.iter().position(|member| member.leg == *leg) else { return Vec::new() };
        let was_alone = self.members.len() == 1;
        self.members.remove(index);
        let mut effects = Vec::new();
        if self.keeper.take_if(|keeper| keeper == leg).is_some() {
            effects.push(Effect::StopRecording(leg.clone()));
        }
        if was_alone {
            effects.push(Effect::Company(leg.clone()));
        }
        effects.push(Effect::Release(leg.clone()));
        if let [last] = &self.members[..] {
            effects.push(Effect::Alone(last.leg.clone()));
        }
        effects.extend(self.settle_recording());
        effects
    }

    /// Mutes a member, or no longer; `None` when there is none of this leg.
    pub(crate) fn mute(&mut self, leg: &str, muted: bool) -> Option<Vec<Effect>> {
        let member = self.members.iter_mut().find(|member| &*member.leg == leg)?;
        member.muted = muted;
        Some(vec![Effect::Cast { leg: member.leg.clone(), muted }])
    }

    /// Wants a recording, or ends it, whoever wanted it.
    pub(crate) fn record(&mut self, on: bool) -> Vec<Effect> {
        self.wanted = on;
        if !on {
            self.members.iter_mut().for_each(|member| member.records = false);
        }
        self.settle_recording().into_iter().collect()
    }

    /// Whether it is being recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        self.keeper.is_some()
    }

    fn settle_recording(&mut self) -> Option<Effect> {
        let wanting = self.members.iter().find(|member| member.records);
        let keeper = wanting.or(self.members.first().filter(|_| self.wanted));
        match (keeper, &self.keeper) {
            (Some(keeper), None) => {
                let keeper = keeper.leg.clone();
                self.keeper = Some(keeper.clone());
                Some(Effect::Record(keeper))
            }
            (None, Some(_)) => self.keeper.take().map(Effect::StopRecording),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(name: &str, records: bool) -> Member {
        Member {
            leg: name.into(),
            call: format!("call_{name}").into(),
            number: name.to_owned(),
            name: None,
            muted: false,
            records,
            joined_at_ms: 0,
        }
    }

    fn conference() -> Conference {
        Conference::new("conf_1".into(), 0)
    }

    fn cast(leg: &str, muted: bool) -> Effect {
        Effect::Cast { leg: leg.into(), muted }
    }

    #[test]
    fn the_first_waits_with_music_until_the_second_comes_and_after_he_goes() {
        let mut room = conference();
        assert_eq!(room.join(member("a", false), 5, true), Ok(vec![cast("a", false), Effect::Alone("a".into())]));
        assert_eq!(room.join(member("b", false), 5, true), Ok(vec![cast("b", false), Effect::Company("a".into())]));
        assert_eq!(room.join(member("c", false), 5, true), Ok(vec![cast("c", false)]));
        assert_eq!(room.leave(&"a".into()), [Effect::Release("a".into())]);
        assert_eq!(room.leave(&"b".into()), [Effect::Release("b".into()), Effect::Alone("c".into())]);
        assert_eq!(room.leave(&"c".into()), [Effect::Company("c".into()), Effect::Release("c".into())]);
        assert_eq!(room.leave(&"c".into()), []);
    }

    #[test]
    fn it_is_full_at_the_number_that_the_newcomer_allows() {
        let mut room = conference();
        for name in ["a", "b"] {
            room.join(member(name, false), 2, true).unwrap();
        }
        assert_eq!(room.join(member("c", false), 2, true), Err(Refused::Full));
        assert!(room.join(member("d", false), 3, true).is_ok(), "another step may allow more");
        for n in 3..MAX_MEMBERS {
            room.join(member(&n.to_string(), false), u32::MAX, true).unwrap();
        }
        assert_eq!(room.join(member("x", false), u32::MAX, true), Err(Refused::Full));
    }

    #[test]
    fn whoever_comes_knows_of_a_recording() {
        let mut room = conference();
        room.join(member("a", true), 5, false).unwrap();
        assert_eq!(room.join(member("b", false), 5, false), Err(Refused::Recorded));
        assert_eq!(room.join(member("b", false), 1, false), Err(Refused::Full), "there is nothing to tell him");
        room.join(member("b", false), 5, true).unwrap();
        room.leave(&"a".into());
        room.join(member("c", false), 5, false).unwrap();
    }

    #[test]
    fn who_is_muted_is_named_by_his_leg() {
        let mut room = conference();
        room.join(member("a", false), 5, true).unwrap();
        assert_eq!(room.mute("a", true), Some(vec![cast("a", true)]));
        assert!(room.members[0].muted);
        assert_eq!(room.mute("b", true), None);
    }

    #[test]
    fn a_recording_passes_on_to_the_next_who_wants_it() {
        let mut room = conference();
        room.join(member("a", false), 5, true).unwrap();
        let effects = room.join(member("b", true), 5, true).unwrap();
        assert_eq!(effects.last(), Some(&Effect::Record("b".into())));
        room.join(member("c", true), 5, true).unwrap();
        let effects = room.leave(&"b".into());
        assert_eq!(effects.first(), Some(&Effect::StopRecording("b".into())));
        assert_eq!(effects.last(), Some(&Effect::Record("c".into())));
        room.leave(&"c".into());
        assert!(!room.is_recorded(), "nobody who is there wants it");
    }

    #[test]
    fn a_recording_that_was_asked_for_by_api_lasts_as_long_as_anybody_is_there() {
        let mut room = conference();
        assert_eq!(room.record(true), [], "nobody is there to keep it");
        let effects = room.join(member("a", false), 5, true).unwrap();
        assert_eq!(effects.last(), Some(&Effect::Record("a".into())));
        room.join(member("b", true), 5, true).unwrap();
        assert_eq!(room.record(true), []);
        assert_eq!(room.record(false), [Effect::StopRecording("a".into())]);
        assert_eq!(room.record(false), []);
        assert_eq!(room.record(true), [Effect::Record("a".into())]);
    }

    proptest! {
        #[test]
        fn whoever_comes_and_goes_one_keeps_the_recording_and_one_alone_hears_music(
            steps in prop::collection::vec((0_u8..6, 0_u8..5, any::<bool>()), 1..60)
        ) {
            let (mut room, mut alone, mut keeper) = (conference(), None, None);
            for (step, who, flag) in steps {
                let leg: LegId = who.to_string().into();
                let is_here = room.members.iter().any(|member| member.leg == leg);
                let effects = match step {
                    0 | 1 if !is_here => room.join(member(&who.to_string(), flag), 4, true).unwrap_or_default(),
                    2 | 3 => room.leave(&leg),
                    4 => room.mute(&leg, flag).unwrap_or_default(),
                    _ => room.record(flag),
                };
                for effect in effects {
                    match effect {
                        Effect::Alone(leg) => alone = Some(leg),
                        Effect::Company(leg) => prop_assert_eq!(alone.take(), Some(leg)),
                        Effect::Record(leg) => prop_assert_eq!(keeper.replace(leg), None),
                        Effect::StopRecording(leg) => prop_assert_eq!(keeper.take(), Some(leg)),
                        Effect::Cast { .. } | Effect::Release(_) => {}
                    }
                }
                prop_assert!(room.members.len() <= 4);
                let only = (room.members.len() == 1).then(|| room.members[0].leg.clone());
                prop_assert_eq!(&alone, &only);
                prop_assert_eq!(room.is_recorded(), keeper.is_some());
                prop_assert!(keeper.is_none_or(|keeper| room.members.iter().any(|member| member.leg == keeper)) );
                keeper = room.keeper.clone();
                let wanted = room.wanted || room.members.iter().any(|member| member.records);
                prop_assert_eq!(room.is_recorded(), wanted && !room.members.is_empty());
            }
        }
    }
}
