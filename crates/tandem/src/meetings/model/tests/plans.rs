//! Longer, another time, other people.

use super::*;

fn extend(by: Actor, ms: i64) -> Input {
    Input::Extend { by, ms }
}

#[test]
fn extend_moves_the_end_and_the_limit() {
    let mut stage = Stage::live();
    stage.say(extend(Actor::Party(Role::Receiver), 10 * MINUTE));
    assert!(stage.has(&Effect::SetLimit { ms: LENGTH + 10 * MINUTE }));
    assert_eq!(stage.meeting.ends_ms, START + LENGTH + 10 * MINUTE);
    assert_eq!(stage.event("meeting.extended")["seconds"], 600);
    assert_eq!(stage.meeting.next_due_ms(&stage.settings), Some(START + LENGTH + 10 * MINUTE + LIMIT_GRACE_MS));
}

#[test]
fn after_a_reconnection_the_limit_is_that_of_the_present_call() {
    let mut stage = Stage::live();
    stage.now = START + MINUTE;
    stage.unbridged(Parting::Lost);
    stage.say(Input::Call { by: Role::Caller });
    stage.hear(News::Bridged);
    stage.say(extend(Actor::Application, MINUTE));
    assert!(stage.has(&Effect::SetLimit { ms: LENGTH }), "a minute was talked, a minute was added");
}

#[test]
fn the_two_together_extend_to_their_maximum_and_the_application_beyond() {
    let mut stage = Stage::open_with(Settings { extend_max_s: 600, ..Settings::default() });
    stage.say(extend(Actor::Party(Role::Caller), 4 * MINUTE));
    let other = Actor::Party(Role::Receiver);
    assert_eq!(stage.refused(extend(other, 7 * MINUTE)), Refused::ExtendLimit { left_ms: 6 * MINUTE });
    stage.say(extend(other, 6 * MINUTE));
    assert_eq!(stage.refused(extend(other, 1)), Refused::ExtendLimit { left_ms: 0 });
    stage.say(extend(Actor::Application, 60 * MINUTE));
    assert_eq!(stage.meeting.limit_ms(), LENGTH + 70 * MINUTE);
}

#[test]
fn nothing_lasts_longer_than_eight_hours() {
    let mut stage = Stage::open();
    for bad in [0, -1, MAX_DURATION_MS, i64::MAX] {
        assert_eq!(stage.refused(extend(Actor::Application, bad)), Refused::Duration, "{bad}");
    }
    stage.say(extend(Actor::Application, MAX_DURATION_MS - LENGTH));
    assert_eq!(stage.meeting.extend_left_ms(&stage.settings), 0);
    stage.say(Input::Cancel { by: Actor::Application });
    assert_eq!(stage.refused(extend(Actor::Application, MINUTE)), Refused::Ended);
}

fn propose(by: Role, starts_ms: i64) -> Input {
    Input::Propose { by, starts_ms, duration_ms: None }
}

fn confirm(by: Role) -> Input {
    Input::Confirm { by, to: None }
}

/// Somebody else takes a place.
fn to(person: Party) -> PartyChange {
    PartyChange { person: Some(person), ..PartyChange::default() }
}

fn change_receiver(receiver: PartyChange) -> Input {
    Input::Change(Box::new(Change { receiver, ..Change::default() }))
}

#[test]
fn whoever_agrees_agrees_to_what_was_read() {
    let mut stage = Stage::open();
    stage.say(propose(Role::Caller, START + 60 * MINUTE));
    let read = stage.meeting.proposal.map(|proposal| proposal.time());
    stage.say(propose(Role::Caller, START + 90 * MINUTE));
    assert_eq!(stage.refused(Input::Confirm { by: Role::Receiver, to: read }), Refused::ProposalChanged);
    assert_eq!(stage.refused(Input::Decline { by: Role::Receiver, what: read }), Refused::ProposalChanged);
    let now = stage.meeting.proposal.map(|proposal| proposal.time());
    stage.say(Input::Confirm { by: Role::Receiver, to: now });
    assert_eq!(stage.meeting.starts_ms, START + 90 * MINUTE);
}

#[test]
fn nobody_floods_the_other_with_proposals() {
    let mut stage = Stage::open_with(Settings { remind_before_s: Some(60), ..Settings::default() });
    for n in 1..=i64::from(MAX_PROPOSALS) {
        stage.say(propose(Role::Caller, START + n * MINUTE));
        assert!(stage.has(&Effect::Notify { who: Role::Receiver, what: Notice::Proposed }));
        stage.say(propose(Role::Caller, START + n * MINUTE));
        assert_eq!(stage.effects, [], "the same again tells nobody");
        stage.say(Input::Decline { by: Role::Caller, what: None });
    }
    assert_eq!(stage.refused(propose(Role::Caller, START + 60 * MINUTE)), Refused::TooManyProposals);
}

#[test]
fn changes_of_one_moment_are_all_made() {
    // Neither of the two has seen the other's.
    let mut stage = Stage::scheduled(Settings::default());
    let named = PartyChange { name: Some("Tom".into()), ..PartyChange::default() };
    let called = PartyChange { number: Some("+447700900999".into()), ..PartyChange::default() };
    for change in [named, called] {
        stage.say(change_receiver(change));
    }
    let wanted = Party { name: "Tom".into(), ..party("56712", "+447700900999") };
    assert_eq!(stage.meeting.receiver, wanted);
}

#[test]
fn whoever_takes_a_place_takes_nothing_of_who_had_it() {
    let mut stage = Stage::scheduled(Settings::default());
    stage.meeting.receiver.email = Some("tom@example.org".into());
    let before = stage.meeting.receiver.clone();
    stage.say(change_receiver(to(Party { name: "Old".into(), email: None, ..before.clone() })));
    assert_eq!(stage.meeting.receiver, before, "who has the place keeps what the meeting knows");
    let unknown = Party { name: String::new(), number: None, ..party("7", "") };
    assert_eq!(stage.refused(change_receiver(to(unknown.clone()))), Refused::NoNumber { who: Role::Receiver });
    let in_browser = Party { call_type: CallType::Browser, ..unknown };
    stage.say(change_receiver(to(in_browser.clone())));
    assert_eq!(stage.meeting.receiver, in_browser);
    assert_eq!(stage.refused(change_receiver(to(party("1222", "+447700900999")))), Refused::SamePerson);
}

#[test]
fn whoever_comes_after_the_reminders_gets_one() {
    let mut stage = Stage::scheduled(Settings { remind_before_s: Some(1_800), ..Settings::default() });
    let reminder = Effect::Notify { who: Role::Receiver, what: Notice::Reminder };
    stage.say(change_receiver(to(party("6", "+4915110000006"))));
    assert!(!stage.has(&reminder), "in time for that of both");
    assert_eq!(stage.wake(), START - 30 * MINUTE);
    stage.say(change_receiver(to(party("7", "+4915110000001"))));
    assert!(stage.has(&reminder), "{:?}", stage.effects);
    assert!(!stage.has(&Effect::Notify { who: Role::Caller, what: Notice::Reminder }));
    stage.at(START, change_receiver(to(party("8", "+4915110000008"))));
    assert!(!stage.has(&reminder), "it has begun");
}

#[test]
fn another_time_is_proposed_by_one_and_confirmed_by_the_other() {
    let mut stage = Stage::open();
    let later = START + 60 * MINUTE;
    assert_eq!(stage.refused(confirm(Role::Caller)), Refused::NothingProposed);
    stage.say(propose(Role::Caller, later));
    assert_eq!((stage.kinds(), stage.meeting.starts_ms), (vec!["meeting.proposed"], START));
    assert_eq!(stage.refused(confirm(Role::Caller)), Refused::OwnProposal);
    stage.say(confirm(Role::Receiver));
    assert_eq!((stage.kinds(), stage.meeting.state), (vec!["meeting.rescheduled"], State::Scheduled));
    assert_eq!((stage.meeting.starts_ms, stage.meeting.ends_ms), (later, later + LENGTH));
    assert_eq!(stage.event("meeting.rescheduled")["previous_starts_at"], kernel::time::rfc3339(START));
    assert_eq!(stage.meeting.proposal, None);
}

#[test]
fn a_proposal_may_be_declined_or_taken_back() {
    for by in Role::BOTH {
        let mut stage = Stage::open();
        stage.say(propose(Role::Caller, START + MINUTE));
        stage.say(Input::Decline { by, what: None });
        assert_eq!((stage.kinds(), stage.meeting.proposal), (vec!["meeting.declined"], None));
        assert_eq!(stage.refused(Input::Decline { by, what: None }), Refused::NothingProposed);
    }
}

#[test]
fn nobody_proposes_the_past_nor_confirms_it() {
    let mut stage = Stage::open();
    assert_eq!(stage.refused(propose(Role::Caller, START - 1)), Refused::NoSuchTime);
    assert_eq!(stage.refused(propose(Role::Caller, i64::MAX)), Refused::NoSuchTime);
    stage.say(propose(Role::Caller, START + MINUTE));
    stage.now = START + 2 * MINUTE;
    assert_eq!(stage.refused(confirm(Role::Receiver)), Refused::NoSuchTime);
}

#[test]
fn a_meeting_in_talk_is_not_moved() {
    let mut stage = Stage::live();
    assert_eq!(stage.refused(propose(Role::Caller, START + 60 * MINUTE)), Refused::InCall);
    let change = Change { starts_ms: Some(START + 60 * MINUTE), ..Change::default() };
    assert_eq!(stage.refused(Input::Change(Box::new(change))), Refused::InCall);
    let change = Change { receiver: to(party("7", "+4915110000001")), ..Change::default() };
    assert_eq!(stage.refused(Input::Change(Box::new(change))), Refused::InCall);
}

#[test]
fn a_second_post_changes_names_and_numbers_and_tells_nothing() {
    let mut stage = Stage::live();
    let mut caller = party("1222", "+447700900999");
    stage.meeting.caller.email = Some("cane@example.org".into());
    caller.name = "Cane".into();
    let change = Change {
        caller: PartyChange::said_again(caller.clone()),
        receiver: PartyChange::said_again(stage.meeting.receiver.clone()),
        starts_ms: Some(START),
        duration_ms: Some(LENGTH),
    };
    stage.say(Input::Change(Box::new(change)));
    let caller = Party { email: Some("cane@example.org".into()), ..caller };
    assert_eq!((&stage.meeting.caller, stage.effects.len()), (&caller, 0), "what it leaves out stays");
}

#[test]
fn a_second_post_of_a_past_start_keeps_it_open() {
    let mut stage = Stage::open();
    let change = Change { starts_ms: Some(START), duration_ms: Some(LENGTH), ..Change::default() };
    stage.at(START + 8 * MINUTE, Input::Change(Box::new(change)));
    assert_eq!(stage.meeting.ends_ms, START + 8 * MINUTE + LENGTH);
    assert_eq!(stage.kinds(), ["meeting.rescheduled"]);
}

#[test]
fn another_length_moves_the_end_and_the_limit() {
    let mut stage = Stage::live();
    stage.say(Input::Change(Box::new(Change { duration_ms: Some(20 * MINUTE), ..Change::default() })));
    assert!(stage.has(&Effect::SetLimit { ms: 20 * MINUTE }));
    assert_eq!(stage.meeting.ends_ms, START + 20 * MINUTE);
    for bad in [0, MINUTE - 1, MAX_DURATION_MS + 1] {
        let change = Change { duration_ms: Some(bad), ..Change::default() };
        assert_eq!(stage.refused(Input::Change(Box::new(change))), Refused::Duration);
    }
}

#[test]
fn whoever_is_replaced_signs_in_no_more() {
    let mut stage = Stage::scheduled(Settings::default());
    let change = Change { receiver: to(party("7", "+4915110000001")), ..Change::default() };
    stage.say(Input::Change(Box::new(change)));
    assert!(stage.has(&Effect::Revoke { uid: "56712".into() }) && !stage.has(&Effect::Revoke { uid: "1222".into() }));
    assert_eq!(stage.event("meeting.rescheduled")["parties_changed"], true);
    assert_eq!(stage.meeting.role_of("56712"), None);
    assert_eq!(stage.meeting.role_of("7"), Some(Role::Receiver));
}

#[test]
fn a_meeting_that_is_moved_is_tried_afresh() {
    let mut stage = Stage::open_with(Settings { auto_start: true, ..Settings::default() });
    stage.say(Input::AutoStart);
    stage.hear(News::NotReached { who: Role::Caller, miss: Miss::Busy });
    let later = START + 60 * MINUTE;
    stage.say(Input::Change(Box::new(Change { starts_ms: Some(later), ..Change::default() })));
    assert!(stage.meeting.is_auto_start_due(&stage.settings, later));
    stage.at(later + LENGTH, Input::Due);
    assert_eq!(stage.ended(), Some(Cause::NoShow), "what was tried at the old time does not count");
}

#[test]
fn a_meeting_that_is_moved_to_now_is_open() {
    let mut stage = Stage::scheduled(Settings::default());
    stage.say(Input::Change(Box::new(Change { starts_ms: Some(stage.now), ..Change::default() })));
    assert_eq!(stage.kinds(), ["meeting.rescheduled", "meeting.opened"]);
}

#[test]
fn each_is_told_of_what_the_other_did() {
    let wanted = Settings { remind_before_s: Some(60), ..Settings::default() };
    let told = |stage: &Stage| -> Vec<(Role, Notice)> {
        let notices = stage.effects.iter().filter_map(|effect| match effect {
            Effect::Notify { who, what } => Some((*who, *what)),
            _ => None,
        });
        notices.collect()
    };
    let mut stage = Stage::scheduled(wanted.clone());
    stage.say(propose(Role::Caller, START + 60 * MINUTE));
    assert_eq!(told(&stage), [(Role::Receiver, Notice::Proposed)]);
    stage.say(confirm(Role::Receiver));
    assert_eq!(told(&stage), [(Role::Caller, Notice::Moved)]);
    stage.say(Input::Change(Box::new(Change { starts_ms: Some(START), ..Change::default() })));
    assert_eq!(told(&stage), [(Role::Caller, Notice::Moved), (Role::Receiver, Notice::Moved)]);
    stage.say(Input::Cancel { by: Actor::Party(Role::Receiver) });
    assert_eq!(told(&stage), [(Role::Caller, Notice::Cancelled)]);
    let mut silent = Stage::scheduled(Settings::default());
    silent.say(Input::Cancel { by: Actor::Application });
    assert_eq!(told(&silent), []);
}
