//! What parties are told by mail or text message.
//!
//! Invariant: a notice to one of the two names the other and no number.

use calls::ResolveError;
use jiff::Timestamp;
use kernel::notice::{NewNotice, withdraw_notices_write};
use kernel::time::rfc3339;
use kernel::{Write, zones};

use super::error::MeetingError;
use super::model::{Meeting, Notice, Role, Settings};
use super::{Meetings, tokens};

/// What tells of a change of plans is worth sending until what it speaks of begins, and so long at least, in milliseconds.
const WORTH_MS: i64 = 3_600_000;

/// What waits to be sent about a meeting and is not true any more is taken back.
pub(super) fn withdraw_write(meeting: &Meeting) -> Write {
    withdraw_notices_write(&meeting.org, &about(meeting))
}

/// What notices of a meeting are about.
fn about(meeting: &Meeting) -> String {
    format!("meeting/{}", meeting.id)
}

/// The notice to one of the two: by mail if there is an address, else by text message to a number outside; a reminder
/// with a link that signs in once, until the meeting's end. Nobody is reminded of a meeting that is over.
pub(super) async fn writes(
    meetings: &Meetings,
    meeting: &Meeting,
    settings: &Settings,
    who: Role,
    what: Notice,
) -> Result<Vec<Write>, MeetingError> {
    let (subject, body) = text(meeting, settings, who, what);
    let Some(notice) = to(meetings, meeting, who, &subject, &body).await? else { return Ok(Vec::new()) };
    let (kernel, notice) = (meetings.kernel(), notice.about(about(meeting)));
    if what != Notice::Reminder {
        let proposed_ms = meeting.proposal.map_or(meeting.starts_ms, |proposal| proposal.starts_ms);
        let begins_ms = if what == Notice::Proposed { proposed_ms } else { meeting.starts_ms };
        let notice = notice.until(begins_ms.max(meetings.now_ms() + WORTH_MS));
        return Ok(vec![kernel.notice_write(&meeting.org, notice)?]);
    }
    let (token, write) = tokens::issue_link_until(kernel, meeting, who, meeting.ends_ms);
    let link = format!("{}/m/{}", meetings.base_url(), token.expose());
    let notice = notice.and(" Your page, for one visit:\n").with_link(link, meeting.ends_ms);
    Ok(vec![write, kernel.notice_write(&meeting.org, notice)?])
}

async fn to(
    meetings: &Meetings,
    meeting: &Meeting,
    who: Role,
    subject: &str,
    body: &str,
) -> Result<Option<NewNotice>, MeetingError> {
    let party = meeting.party(who);
    if let Some(email) = party.email.as_deref() {
        return Ok(Some(NewNotice::mail(email, subject, body)));
    }
    let Some(number) = party.number.as_deref().filter(|number| number.starts_with('+')) else { return Ok(None) };
    if !may_text(meetings, &meeting.org, number).await? {
        tracing::info!(org = %meeting.org, meeting = meeting.id, "a notice is not sent: its number may not be called");
        return Ok(None);
    }
    Ok(Some(NewNotice::sms(number, body)))
}

/// A text message goes where a call may go, and not to whoever wants none.
async fn may_text(meetings: &Meetings, org: &str, number: &str) -> Result<bool, MeetingError> {
    match meetings.calls().directory().resolve(org, number).await {
        Ok(_) => {}
        Err(ResolveError::Number(_)) => return Ok(false),
        Err(ResolveError::Db(error)) => return Err(error.into()),
        Err(ResolveError::Org(error)) => return Err(error.into()),
    }
    let org = meetings.kernel().org_by_id(org).await?;
    let is_unwanted = |listed: &String| calls::numbers::e164(listed).as_deref() == Some(number);
    Ok(!org.is_some_and(|org| org.settings.do_not_call.iter().any(is_unwanted)))
}

/// Subject and text.
fn text(meeting: &Meeting, settings: &Settings, who: Role, what: Notice) -> (String, String) {
    let other = meeting.party(who.other()).shown_name();
    let with = other.map(|name| format!(" with {name}")).unwrap_or_default();
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
