//! A phone and its calls, by frames, commands and time alone.

use kernel::Ids;
use media::codec::CodecKind;

use super::call::Action;
use super::exchange::{PhoneAccount, PhoneRights};
use super::frame::{Down, Fault, IceServer, Side, Up};
use super::phone::{Order, Phone, Ring};
use crate::cause::Cause;
use crate::leg::{EndedBy, LegEvent, LegId, Signal};
use crate::ports::LineIdentity;
use crate::runner::{Direction, Fingerprint};
use crate::sip::sdp::browser_tests::CHROMIUM;
use crate::voice::CallerId;

/// A phone that is here, and what it asked for since the last look.
struct Bench {
    phone: Phone,
    now: i64,
}

impl Bench {
    fn new() -> Self {
        Self::with(PhoneRights::All)
    }

    fn with(rights: PhoneRights) -> Self {
        let line = LineIdentity { org: "org_1".into(), extension: "1001".into(), person: None, line: "browser".into() };
        let account = PhoneAccount { line, name: "Ann".to_owned(), ice_servers: Vec::new(), rights };
        let fingerprint = Fingerprint { hash: "sha-256".to_owned(), digest: vec![7; 32] };
        let mut phone = Phone::new("phone_1".into(), account, fingerprint, Ids::seeded(7));
        phone.attach(vec!["192.0.2.10:3479".parse().unwrap()], Vec::new(), &mut Vec::new());
        Self { phone, now: 1_000 }
    }

    fn says(&mut self, frame: Up) -> Vec<Order> {
        let mut out = Vec::new();
        self.phone.frame(frame, self.now, &mut out);
        out
    }

    fn commands(&mut self, leg: &LegId, signal: Signal) -> Vec<Order> {
        let mut out = Vec::new();
        self.phone.signal(leg, signal, &mut out);
        out
    }

    /// A call of the phone's; its leg.
    fn calls(&mut self, id: &str) -> LegId {
        let out = self.says(Up::Call { id: id.to_owned(), to: " 1002 ".to_owned(), sdp: CHROMIUM.to_owned() });
        match &out[..] {
            [
                Order::Begin { leg, to },
                Order::Leg(_, Action::Media(_)),
                Order::Leg(_, Action::Tell(Down::Answer { .. })),
            ] => {
                assert_eq!(to, "1002");
                leg.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    fn rings(&mut self, leg: &str) -> Vec<Order> {
        let from = CallerId { number: "2000".to_owned(), display: None, anonymous: true };
        let ring = Ring { leg: leg.into(), from, prefer: Some(CodecKind::Pcma), ring_until: self.now + 30_000 };
        let mut out = Vec::new();
        self.phone.ring(ring, &mut out);
        out
    }
}

fn fault(orders: &[Order]) -> Fault {
    match orders {
        [Order::Tell(Down::Error { code, .. }) | Order::Leg(_, Action::Tell(Down::Error { code, .. }))] => *code,
        other => panic!("{other:?}"),
    }
}

fn directions(orders: &[Order]) -> Vec<Direction> {
    let media = orders.iter().filter_map(|order| match order {
        Order::Leg(_, Action::Media(remote)) => Some(remote.direction),
        _ => None,
    });
    media.collect()
}

#[test]
fn a_call_ends_once_and_is_then_unknown() {
    let mut bench = Bench::new();
    let leg = bench.calls("c1");
    bench.commands(&leg, Signal::Answer);
    let out = bench.says(Up::Hangup { id: "c1".to_owned() });
    match &out[..] {
        [Order::Leg(_, Action::Tell(Down::Ended { by: Side::Phone, .. })), Order::Leg(_, Action::Ended(end))] => {
            assert_eq!((end.cause, end.by), (Cause::Normal, EndedBy::Remote));
        }
        other => panic!("{other:?}"),
    }
    assert!(bench.commands(&leg, Signal::Hangup(Cause::Normal)).is_empty());
    assert_eq!(fault(&bench.says(Up::Hangup { id: "c1".to_owned() })), Fault::UnknownCall);
    bench.calls("c1");
}

#[test]
fn both_sides_holds_add_up() {
    let mut bench = Bench::new();
    let leg = bench.calls("c1");
    let hold = |on| Up::Hold { id: "c1".to_owned(), on };
    assert_eq!(fault(&bench.says(hold(true))), Fault::WrongState, "nobody has answered");
    bench.commands(&leg, Signal::Answer);
    assert_eq!(directions(&bench.says(hold(true))), [Direction::RecvOnly]);
    assert_eq!(directions(&bench.commands(&leg, Signal::Hold(true))), [Direction::Inactive]);
    assert_eq!(directions(&bench.says(hold(false))), [Direction::SendOnly]);
    assert_eq!(directions(&bench.commands(&leg, Signal::Hold(false))), [Direction::SendRecv]);
    // The same again tells the phone, and nobody else.
    let out = bench.says(hold(false));
    assert!(matches!(&out[..], [Order::Leg(_, Action::Tell(Down::Resumed { by: Side::Phone, .. }))]), "{out:?}");
    // A hold by the description counts as one.
    let sdp = CHROMIUM.replace("a=sendrecv", "a=sendonly");
    let out = bench.says(Up::Offer { id: "c1".to_owned(), sdp });
    assert_eq!(directions(&out), [Direction::RecvOnly]);
    assert!(out.iter().any(|order| matches!(order, Order::Leg(_, Action::Event(LegEvent::Held)))));
}

#[test]
fn keys_by_frame_are_presses_and_what_is_no_key_is_none() {
    let mut bench = Bench::new();
    bench.calls("c1");
    let out = bench.says(Up::Dtmf { id: "c1".to_owned(), digits: "1 a*x#".to_owned() });
    let keys: String = out
        .iter()
        .filter_map(|order| match order {
            Order::Leg(_, Action::Digit(digit)) => Some(digit.symbol),
            _ => None,
        })
        .collect();
    assert_eq!(keys, "1A*#");
}

#[test]
fn a_phone_has_so_many_calls_and_no_more() {
    let mut bench = Bench::new();
    (0..8).for_each(|index| drop(bench.calls(&format!("c{index}"))));
    let more = Up::Call { id: "c9".to_owned(), to: "1002".to_owned(), sdp: CHROMIUM.to_owned() };
    assert_eq!(fault(&bench.says(more)), Fault::TooManyCalls);
    // Who calls it hears that it is busy; the phone hears nothing.
    let out = bench.rings("leg_9");
    assert!(matches!(&out[..], [Order::Leg(_, Action::Ended(end))] if end.cause == Cause::Busy), "{out:?}");
}

#[test]
fn a_caller_who_hides_is_not_shown_and_is_offered_what_is_spoken_there() {
    let mut bench = Bench::new();
    let out = bench.rings("leg_1");
    let [Order::Leg(_, Action::Tell(Down::Incoming { id, from, sdp }))] = &out[..] else { panic!("{out:?}") };
    assert_eq!((id.as_str(), from.number.as_str(), &from.name), ("leg_1", "", &None));
    assert!(sdp.contains("UDP/TLS/RTP/SAVPF 8 0 101"), "{sdp}");
}

#[test]
fn a_phone_that_cannot_be_sent_elsewhere_says_so_and_a_transfer_waits_for_its_verdict() {
    let mut bench = Bench::new();
    let leg = bench.calls("c1");
    bench.commands(&leg, Signal::Answer);
    let out = bench.commands(&leg, Signal::Refer("sip:1003@example.org".to_owned()));
    assert!(matches!(&out[..], [Order::Leg(_, Action::Event(LegEvent::TransferEnded { sip_code: 501 }))]), "{out:?}");
    let transfer = || Up::Transfer { id: "c1".to_owned(), to: "1003".to_owned() };
    let out = bench.says(transfer());
    assert!(matches!(&out[..], [Order::Leg(_, Action::Event(LegEvent::TransferRequested { .. }))]), "{out:?}");
    assert_eq!(fault(&bench.says(transfer())), Fault::WrongState, "one at a time");
    assert!(bench.commands(&leg, Signal::AcceptTransfer(true)).is_empty());
    bench.says(transfer());
    assert_eq!(fault(&bench.commands(&leg, Signal::AcceptTransfer(false))), Fault::TransferRefused);
}

#[test]
fn offers_of_a_call_are_a_second_apart() {
    let mut bench = Bench::new();
    bench.calls("c1");
    bench.calls("c2");
    let offers = |bench: &mut Bench, id: &str| {
        let out = bench.says(Up::Offer { id: id.to_owned(), sdp: CHROMIUM.to_owned() });
        let refusals = out.iter().filter(|order| {
            matches!(order, Order::Leg(_, Action::Tell(Down::Error { code: Fault::RateLimited, id: Some(_), .. })))
        });
        (directions(&out).len(), refusals.count())
    };
    assert_eq!(offers(&mut bench, "c1"), (1, 0), "a page may be loaded anew at once");
    bench.now += 999;
    assert_eq!(offers(&mut bench, "c1"), (0, 1));
    assert_eq!(offers(&mut bench, "c2"), (1, 0), "each call counts for itself");
    bench.now += 1;
    assert_eq!(offers(&mut bench, "c1"), (1, 0));
    bench.now -= 3_600_000;
    assert_eq!(offers(&mut bench, "c1"), (1, 0), "a clock that is set back locks nobody out");
}

#[test]
fn whoever_may_not_phone_any_more_loses_its_calls_and_hears_of_it() {
    let mut bench = Bench::new();
    let up = bench.calls("c1");
    bench.commands(&up, Signal::Answer);
    bench.calls("c2");
    bench.rings("leg_3");
    let mut out = Vec::new();
    bench.phone.expel(&mut out);
    let ended = |order: &Order| match order {
        Order::Leg(_, Action::Tell(Down::Ended { id, cause, sip_code, .. })) => {
            Some((id.clone(), cause.clone(), *sip_code))
        }
        _ => None,
    };
    let told: Vec<_> = out.iter().filter_map(ended).collect();
    let told: Vec<_> = told.iter().map(|(id, cause, code)| (id.as_str(), cause.as_str(), *code)).collect();
    assert_eq!(told, [("c1", "rejected", None), ("c2", "rejected", Some(403)), ("leg_3", "rejected", Some(403))]);
    let ends = out.iter().filter(|order| matches!(order, Order::Leg(_, Action::Ended(_)))).count();
    assert_eq!(ends, 3);
    bench.phone.detach(bench.now);
    assert!(bench.phone.is_gone());
}

#[test]
fn a_phone_that_comes_back_is_given_fresh_credentials_for_relays() {
    let mut bench = Bench::new();
    bench.phone.detach(bench.now);
    let fresh = IceServer { urls: vec!["turn:b".to_owned()], username: Some("2:per_1".to_owned()), credential: None };
    let mut out = Vec::new();
    bench.phone.attach(Vec::new(), vec![fresh.clone()], &mut out);
    assert!(matches!(&out[..], [Order::Tell(Down::Ready { ice_servers, .. })] if *ice_servers == [fresh]), "{out:?}");
}

#[test]
fn what_rings_waits_less_for_a_lost_phone_than_what_is_up() {
    let mut bench = Bench::new();
    let up = bench.calls("c1");
    bench.commands(&up, Signal::Answer);
    bench.rings("leg_2");
    bench.phone.detach(bench.now);
    let ended = |bench: &mut Bench, at: i64| {
        let mut out = Vec::new();
        bench.phone.due(at, &mut out);
        let ends = out.iter().filter_map(|order| match order {
            Order::Leg(leg, Action::Ended(end)) => Some((leg.to_string(), end.cause)),
            _ => None,
        });
        ends.collect::<Vec<_>>()
    };
    assert_eq!(bench.phone.next(), 6_000);
    assert_eq!(ended(&mut bench, 5_999), []);
    assert_eq!(ended(&mut bench, 6_000), [("leg_2".to_owned(), Cause::Unreachable)]);
    assert_eq!(bench.phone.next(), 31_000);
    assert!(!bench.phone.is_gone());
    assert_eq!(ended(&mut bench, 31_000), [(up.to_string(), Cause::Unreachable)]);
    assert!(bench.phone.is_gone());
}

#[test]
fn a_phone_that_only_takes_calls_dials_nobody_and_hands_nobody_on() {
    let mut bench = Bench::with(PhoneRights::AnswerOnly);
    let mut out = Vec::new();
    bench.phone.attach(Vec::new(), Vec::new(), &mut out);
    assert!(matches!(&out[..], [Order::Tell(Down::Ready { extension, .. })] if extension.is_empty()), "{out:?}");
    bench.rings("leg_1");
    let wanted = [
        Up::Call { id: "c1".to_owned(), to: "1002".to_owned(), sdp: CHROMIUM.to_owned() },
        Up::Transfer { id: "leg_1".to_owned(), to: "1002".to_owned() },
    ];
    for frame in wanted {
        let said = bench.says(frame);
        assert!(matches!(&said[..], [Order::Tell(Down::Error { code: Fault::NotAllowed, .. })]), "{said:?}");
    }
    let hung_up = bench.says(Up::Hangup { id: "leg_1".to_owned() });
    assert!(
        matches!(hung_up.last(), Some(Order::Leg(_, Action::Ended(_)))),
        "it may end what it was given: {hung_up:?}"
    );
}
