//! `callback`.
use kernel::zones::Dst;

use super::*;
use crate::flows::{
    machine::{Booked, Booking},
    steps::callback::Order,
};

fn step(fields: Value) -> Value {
    let mut step = json!({"type": "callback", "date": "2027-03-28", "time": "01:30", "entity": 5263, "next_step": "next", "flow": {"fail": "a"}});
    step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    step
}

fn booking(run: &Run) -> Booking {
    run.find(|effect| if let Effect::Book(booking) = effect { Some((**booking).clone()) } else { None })
}

fn booked(fields: Value) -> Booking {
    booking(&Run::of(step(fields)))
}

fn at(booking: &Booking) -> String {
    kernel::time::rfc3339(booking.due.at_ms)
}

#[test]
fn field_date() {
    assert_eq!(at(&booked(json!({"date": "2028-02-29"}))), "2028-02-29T01:30:00.000Z");
    let bad = Run::of(step(json!({"date": "{{call.to}}"})));
    assert_eq!((bad.at(), bad.events("step.failed")[0]["error"].clone()), ("a".into(), json!("invalid_date")));
}

#[test]
fn field_time() {
    assert_eq!(at(&booked(json!({"time": "20:48:05"}))), "2027-03-28T20:48:05.000Z");
    assert_eq!(Run::of(step(json!({"time": "{{nobody}}"}))).at(), "a");
}

#[test]
fn field_timezone() {
    assert_eq!(at(&booked(json!({}))), "2027-03-28T01:30:00.000Z", "UTC by default");
    let london = booked(json!({"timezone": "Europe/London"}));
    assert_eq!(
        (at(&london).as_str(), london.due.dst, london.zone.as_str()),
        ("2027-03-28T01:30:00.000Z", Some(Dst::Gap), "Europe/London")
    );
    assert_eq!(at(&booked(json!({"timezone": "EST"}))), "2027-03-28T06:30:00.000Z");
    assert_eq!(Run::of(step(json!({"timezone": "{{call.id}}"}))).at(), "a");
}

#[test]
fn field_entity() {
    let made = booked(json!({"entity": "5263"}));
    assert_eq!((made.entity.as_str(), made.customer.as_str(), made.step.as_str()), ("5263", "+917507161643", "s"));
    assert_eq!(Run::of(step(json!({"entity": "{{nobody}}"}))).at(), "a");
}

#[test]
fn field_order() {
    assert_eq!(booked(json!({})).order, Order::EntityFirst);
    assert_eq!(booked(json!({"order": "customer_first"})).order, Order::CustomerFirst);
}

#[test]
fn field_on_past() {
    let past = |on_past: &str| Run::of(step(json!({"date": "2018-10-11", "on_past": on_past})));
    let by_default = Run::of(step(json!({"date": "2018-10-11"})));
    for skipped in [by_default, past("skip")] {
        assert_eq!((skipped.at(), skipped.outcome()), ("next".into(), json!("skipped")));
        assert_eq!(skipped.events("callback.skipped").len(), 1);
    }
    let made = booking(&past("asap"));
    assert_eq!((made.due.at_ms, made.asap), (NOW, true));
    assert_eq!(past("fail").at(), "a");
}

#[test]
fn field_attempts() {
    assert_eq!(booked(json!({})).attempts, 3);
    assert_eq!(booked(json!({"attempts": 1})).attempts, 1);
}

#[test]
fn edge_next_step() {
    let mut run = Run::of(step(json!({"timezone": "Europe/London"})));
    run.input(Input::Booked(Booked::Now { key: "cb_1".into() }));
    assert_eq!((run.at(), run.outcome()), ("next".into(), json!("scheduled")));
    assert_eq!(
        run.events("callback.scheduled"),
        [json!({"callback": "cb_1", "at_utc": "2027-03-28T01:30:00.000Z", "dst": "gap"})]
    );
    let mut again = Run::of(step(json!({})));
    again.input(Input::Booked(Booked::Before));
    assert_eq!((again.at(), again.events("callback.scheduled").len()), ("next".into(), 0));
}

#[test]
fn edge_fail() {
    let mut run = Run::of(step(json!({})));
    run.input(Input::Booked(Booked::Refused("unknown_entity")));
    assert_eq!(run.at(), "a");
    assert_eq!(run.events("step.failed")[0]["error"], json!("unknown_entity"));
}

#[test]
fn who_shows_no_number_is_not_booked() {
    for customer in ["anonymous", "Unavailable", "+", "1"] {
        let mut run = Run::new(Run::body(step(json!({}))), Setup { customer: customer.into(), ..Setup::default() });
        run.log.extend(run.machine.start(NOW, true));
        run.input(Input::Answered);
        assert_eq!((run.at(), run.events("step.failed")[0]["error"].clone()), ("a".into(), json!("invalid_number")));
        assert!(run.all(|effect| matches!(effect, Effect::Book(_)).then_some(())).is_empty());
    }
}
