//! Numbers as people write them, what may be dialled, and what may be shown.

use proptest::prelude::{prop_assert, proptest};

use super::*;

fn e164_of(text: &str) -> Dialled {
    read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn numbers_are_read_as_people_write_them() {
    for text in ["442071838750", "+442071838750", "00442071838750", "+44 20 7183-8750", "+44 (20) 7183.8750"] {
        assert!(matches!(e164_of(text), Dialled::E164 { e164, .. } if e164 == "+442071838750"), "{text}");
    }
    assert_eq!(e164_of("5263"), Dialled::Short("5263".into()));
    assert_eq!(e164_of("*97"), Dialled::Short("*97".into()));
    assert_eq!(e164_of("0207183"), Dialled::Short("0207183".into()), "a trunk prefix is no country code");
    assert_eq!(e164_of("sip:a@example.org"), Dialled::Sip("sip:a@example.org".into()));
    for text in ["", "1", "+12", "12a4", "tel:12345678", &"1".repeat(33), "+0123456789", "１２３４"] {
        assert_eq!(read(text), Err(NumberError::Invalid), "{text}");
    }
}

#[test]
fn premium_needs_its_own_entry_and_a_list_closes_the_rest() {
    let list = |entries: &[&str]| entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>();
    let all = DialPlan::default();
    assert!(may_dial("+442071838750", all));
    assert!(!may_dial("+19005550100", all) && !may_dial("+449055501000", all) && !may_dial("+881612345678", all));
    let open = list(&["+1900"]);
    assert!(may_dial("+19005550100", DialPlan { premium: &open, ..all }));
    let country = list(&["+1"]);
    assert!(!may_dial("+19005550100", DialPlan { premium: &country, ..all }), "a country's entry opens no premium");
    let only = list(&["+44", "+4930"]);
    let plan = DialPlan { only: &only, ..all };
    assert!(may_dial("+442071838750", plan) && may_dial("+493012345678", plan));
    assert!(!may_dial("+14155550100", plan) && !may_dial("+448712345678", plan));
}

#[test]
fn emergency_numbers_are_known_with_and_without_plus() {
    assert!(is_emergency("112") && is_emergency("+911") && !is_emergency("1001") && !is_emergency("08"));
}

#[test]
fn a_masked_number_shows_two_digits() {
    assert_eq!(masked("+442071838750"), "**50");
    assert_eq!(masked("7"), "**7");
    assert_eq!(masked("anonymous"), "**");
}

#[test]
fn the_caller_id_rule() {
    let shown = |number: Option<&str>, replaced| ChosenCallerId { number: number.map(str::to_owned), replaced };
    let facts = CallerIdFacts { fallback: Some("+442071838750"), ..CallerIdFacts::default() };

    let own = CallerIdFacts { wanted: Some("14155550100"), owned: true, outside: true, ..facts };
    assert_eq!(choose_caller_id(own), shown(Some("+14155550100"), false), "owned: as asked, normalised");
    let foreign = CallerIdFacts { owned: false, ..own };
    assert_eq!(choose_caller_id(foreign), shown(Some("+442071838750"), true));
    let anonymous = CallerIdFacts { fallback: None, ..foreign };
    assert_eq!(choose_caller_id(anonymous), shown(None, true));
    let nothing_asked = CallerIdFacts { wanted: None, ..foreign };
    assert_eq!(choose_caller_id(nothing_asked), shown(Some("+442071838750"), false));

    let customer = CallerIdFacts { wanted: Some("917507161643"), customer: Some("+917507161643"), ..facts };
    assert_eq!(choose_caller_id(customer), shown(Some("+917507161643"), false), "inside, the customer's is fine");
    let out = CallerIdFacts { outside: true, ..customer };
    assert_eq!(choose_caller_id(out), shown(Some("+442071838750"), true), "outside it is not");
    let inside = CallerIdFacts { customer: Some("1001"), ..facts };
    assert_eq!(choose_caller_id(inside), shown(Some("1001"), false));
    let fake = CallerIdFacts { wanted: Some("12345678"), customer: Some("1001"), ..facts };
    assert_eq!(choose_caller_id(fake), shown(Some("1001"), true));
}

proptest! {
    #[test]
    fn whatever_is_read_as_e164_is_e164(text in "[+0-9 .*#()a/-]{0,40}") {
        if let Ok(Dialled::E164 { e164, .. }) = read(&text) {
            let digits = e164.strip_prefix('+').unwrap_or_default();
            prop_assert!((8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()));
            prop_assert!(!digits.starts_with('0'));
        }
    }
}

#[test]
fn a_number_is_found_however_it_is_spelled() {
    for text in ["+442071838750", "442071838750", "00442071838750", " 442071838750", "+44 (20) 7183-8750"] {
        assert_eq!(public(text).as_deref(), Some("+442071838750"), "{text}");
    }
    assert_eq!(public("1001"), None);
}
