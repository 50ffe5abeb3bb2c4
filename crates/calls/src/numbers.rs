//! What a dialled text means, and what a call may show as its caller.
//!
//! Pure rules over texts; the look-ups that need the store stand in [`crate::directory`].
//! Invariant: whatever leaves this module as [`Dialled::E164`] is `+` and 8 to 15 digits.
//! Source: docs/contracts/flows.md, "connect/call numbers"; ITU-T E.164.

/// Longest number that can be dialled, in characters.
const MAX_DIALLED: usize = 32;
/// Fewest and most digits of an E.164 number that we accept without doubt.
const E164_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// Emergency and other life-line numbers: never sent to a trunk, whatever the dial plan says,
/// because a server does not know where its caller stands.
const EMERGENCY: &[&str] = &[
    "000", "061", "100", "101", "102", "103", "104", "105", "106", "107", "108", "110", "111", "112", "113", "114",
    "115", "116", "117", "118", "119", "120", "122", "123", "133", "144", "190", "191", "192", "193", "194", "195",
    "197", "198", "199", "911", "990", "991", "992", "993", "995", "996", "997", "998", "999",
];

/// Prefixes that cost the caller a premium (national rate-sharing and international ranges), denied
/// unless an entry of the dial plan's allow list lies inside the range.
const PREMIUM: &[&str] = &[
    "+1900", "+1976", "+31900", "+31906", "+31909", "+3290", "+3389", "+34803", "+34806", "+34807", "+39892", "+39894",
    "+39895", "+39899", "+40900", "+41900", "+41901", "+41906", "+420900", "+420906", "+420909", "+43900", "+43901",
    "+43930", "+43931", "+4470", "+44871", "+44872", "+44873", "+449", "+4590", "+46900", "+46939", "+46944", "+4782",
    "+4870", "+49137", "+49900", "+611900", "+64900", "+870", "+878", "+881", "+882", "+883", "+979",
];

/// Why a number cannot be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text is no number.
    #[error("this is not a number: 2 to 32 of 0-9 * #, with an optional + in front")]
    Invalid,
    /// An emergency or premium number, or outside the organisation's dial plan.
    #[error(
        "this number may not be called: it is an emergency or premium number, or the dial plan leaves it out (settings dial_only and dial_allow)"
    )]
    NotAllowed,
    /// A short number that nobody in the organisation has.
    #[error(
        "nobody in this organisation has this number; one outside is written with its country code, such as +442071838750"
    )]
    Unknown,
}

/// A dialled text, read without knowing any directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// Digits, `*` and `#`: a number inside the organisation, or none.
    Short(String),
    /// Could be inside (as it was dialled), else this E.164 number.
    E164 {
        /// As it was dialled, without separators.
        dialled: String,
        /// With `+`.
        e164: String,
    },
    /// A SIP address.
    Sip(String),
}

/// Reads a dialled text. Spaces, dashes, dots and brackets are separators; `00` in front of an
/// international number stands for `+`.
///
/// # Errors
/// [`NumberError::Invalid`] when it is no number.
pub fn read(text: &str) -> Result<Dialled, NumberError> {
    let text = text.trim();
    if text.starts_with("sip:") || text.starts_with("sips:") {
        return Ok(Dialled::Sip(text.to_owned()));
    }
    let dialled = without_separators(text);
    let bare = dialled.strip_prefix('+').unwrap_or(&dialled);
    let is_number = bare.chars().all(|c| matches!(c, '0'..='9' | '*' | '#'));
    if !is_number || bare.len() < 2 || dialled.len() > MAX_DIALLED {
        return Err(NumberError::Invalid);
    }
    match e164(&dialled) {
        Some(e164) => Ok(Dialled::E164 { dialled, e164 }),
        None if dialled.starts_with('+') => Err(NumberError::Invalid),
        None => Ok(Dialled::Short(dialled)),
    }
}

/// The E.164 form of a number: `+` and 8 to 15 digits that do not begin with 0.
pub fn e164(number: &str) -> Option<String> {
    let bare = number.strip_prefix('+').or_else(|| number.strip_prefix("00")).unwrap_or(number);
    let digits = bare.bytes().all(|b| b.is_ascii_digit());
    (digits && E164_DIGITS.contains(&bare.len()) && !bare.starts_with('0')).then(|| format!("+{bare}"))
}

/// The E.164 form of a number as people write it: with or without `+`, with separators.
pub fn public(text: &str) -> Option<String> {
    e164(&without_separators(text))
}

fn without_separators(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect()
}

/// The number is an emergency number somewhere.
pub fn is_emergency(number: &str) -> bool {
    let bare = number.strip_prefix('+').unwrap_or(number);
    EMERGENCY.contains(&bare)
}

/// What an organisation's dial plan lets out; entries are E.164 prefixes.
#[derive(Clone, Copy, Debug, Default)]
pub struct DialPlan<'a> {
    /// If not empty, only numbers with one of these prefixes.
    pub only: &'a [String],
    /// Premium ranges that are open: an entry must lie inside the range, so that a country's entry
    /// does not open its premium numbers.
    pub premium: &'a [String],
}

/// Whether a dial plan lets an E.164 number out.
pub fn may_dial(e164: &str, plan: DialPlan<'_>) -> bool {
    let matching = |entries: &[String], inside: &str| {
        entries.iter().any(|entry| entry.starts_with(inside) && e164.starts_with(entry.as_str()))
    };
    let open = match PREMIUM.iter().find(|prefix| e164.starts_with(**prefix)) {
        Some(premium) => matching(plan.premium, premium),
        None => true,
    };
    open && !is_emergency(e164) && (plan.only.is_empty() || matching(plan.only, "+"))
}

/// A number as its last two digits, for parties who may not learn it.
pub fn masked(number: &str) -> String {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    let tail: String = digits.iter().rev().take(2).rev().collect();
    format!("**{tail}")
}

/// What is known when a caller id is chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallerIdFacts<'a> {
    /// What the driver asked for.
    pub wanted: Option<&'a str>,
    /// The customer's (or the dialling phone's) own number, shown inside the organisation only.
    pub customer: Option<&'a str>,
    /// The call leaves the organisation.
    pub outside: bool,
    /// The wanted number is the organisation's own or verified.
    pub owned: bool,
    /// What the organisation shows when nothing better may be shown.
    pub fallback: Option<&'a str>,
}

/// The caller id that is shown, and whether it replaces another that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenCallerId {
    /// `None` is anonymous.
    pub number: Option<String>,
    /// Warning `caller_id_replaced`.
    pub replaced: bool,
}

/// The caller id rule: an owned or verified number as asked; inside also the customer's; else the
/// organisation's own, with a warning when another was asked for.
pub fn choose_caller_id(facts: CallerIdFacts<'_>) -> ChosenCallerId {
    let wanted = facts.wanted.map(|number| e164(number).unwrap_or_else(|| number.to_owned()));
    if let Some(wanted) = &wanted {
        let is_customer = facts
            .customer
            .is_some_and(|customer| customer == wanted || e164(customer).as_deref() == Some(wanted.as_str()));
        if facts.owned || (is_customer && !facts.outside) {
            return ChosenCallerId { number: Some(wanted.clone()), replaced: false };
        }
    }
    let inside = (!facts.outside).then_some(facts.customer).flatten();
    let number = inside.or(facts.fallback).map(str::to_owned);
    let replaced = wanted.is_some() && wanted != number;
    ChosenCallerId { number, replaced }
}

#[cfg(test)]
#[path = "numbers_tests.rs"]
mod tests;
