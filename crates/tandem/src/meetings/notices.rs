//! What parties are told by mail or text message.
//!
//! Invariant: a notice to one of the two names the other and no number.

use jiff::Timestamp;
use kernel::notice::Channel;
use kernel::time::rfc3339;
use kernel::{Kernel, Write, zones};

use super::model::{Meeting, Notice, Party, Role, Settings};

/// The notice to one of the two: by mail if there is an address, else by text message to a number outside.
pub(super) fn write(kernel: &Kernel, meeting: &Meeting, settings: &Settings, who: Role, what: Notice) -> Option<Write> {
    let (channel, recipient) = reached(meeting.party(who))?;
    let (subject, body) = text(meeting, settings, who, what);
    Some(kernel.notice_write(&meeting.org, channel, recipient, &subject, &body))
}

fn reached(party: &Party) -> Option<(Channel, &str)> {
    let mail = party.email.as_deref().map(|email| (Channel::Mail, email));
    let number = party.number.as_deref().filter(|number| number.starts_with('+'));
    mail.or_else(|| number.map(|number| (Channel::Sms, number)))
}

/// Subject and text.
fn text(meeting: &Meeting, settings: &Settings, who: Role, what: Notice) -> (String, String) {
    let other = &meeting.party(who.other()).name;
    let with = if other.is_empty() { String::new() } else { format!(" with {other}") };
    let at = local_time(meeting.starts_ms, &settings.time_zone);
    let (subject, body) = match what {
        Notice::Reminder => ("Your meeting begins soon", format!("Your meeting{with} begins at {at}.")),
        Notice::Moved => ("Your meeting has moved", format!("Your meeting{with} is now at {at}.")),
        Notice::Proposed => {
            let then = meeting.proposal.map(|proposal| local_time(proposal.starts_ms, &settings.time_zone));
            let then = then.unwrap_or_default();
            ("Another time is proposed", format!("For your meeting{with} at {at} another time is proposed: {then}."))
        }
        Notice::Cancelled => ("Your meeting is cancelled", format!("Your meeting{with} at {at} is cancelled.")),
    };
    (subject.to_owned(), body)
}

/// A time on the application's clock.
fn local_time(at_ms: i64, zone: &str) -> String {
    let moment = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    let zone = if zones::parse_zone(zone).is_some() { zone } else { "UTC" };
    match moment.in_tz(zone) {
        Ok(there) => there.strftime("%H:%M on %A, %-d %B %Y (%Q)").to_string(),
        Err(_) => rfc3339(at_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_on_the_application_s_clock() {
        assert_eq!(
            local_time(1_420_045_200_000, "Europe/London"),
            "17:00 on Wednesday, 31 December 2014 (Europe/London)"
        );
        assert_eq!(local_time(0, "Nowhere/Atall"), "00:00 on Thursday, 1 January 1970 (UTC)");
    }
}
