//! Error codes of this desk, and which error is which.

use kernel::Problem;
use kernel::error::Code;
use kernel::error::codes as kernel_codes;

use crate::meetings::error::MeetingError;
use crate::meetings::model::{Refused, Role};

kernel::error_codes! {
    MEETING_NOT_OPEN = "meeting_not_open", 409, "The meeting is not open yet",
        "A meeting can be called from five minutes before its start on.";
    MEETING_ENDED = "meeting_ended", 409, "The meeting has ended",
        "Nothing can be changed of a meeting that is over. Post the order again for another one.";
    MEETING_IN_CALL = "meeting_in_call", 409, "The meeting's call is under way",
        "The two are being connected, or talk, already.";
    MEETING_NOT_BEGUN = "meeting_not_begun", 409, "The meeting has not begun",
        "A meeting that was never open can be cancelled, not finished.";
    EXTEND_LIMIT = "extend_limit", 422, "The meeting cannot be extended by so much",
        "The two may extend it by extend_max_s of the application's settings, all in all, and no talk is longer than eight hours.";
    DURATION_OUT_OF_RANGE = "duration_out_of_range", 422, "The duration is out of range",
        "A talk lasts from 1 to 480 minutes, extensions included.";
    TIME_OUT_OF_RANGE = "time_out_of_range", 422, "The time cannot be",
        "A proposed time lies ahead, and not more than ten years.";
    NOTHING_PROPOSED = "nothing_proposed", 409, "No other time is proposed",
        "The proposal was taken back, or the meeting was moved meanwhile.";
    OWN_PROPOSAL = "own_proposal", 409, "The other party confirms a proposal",
        "Whoever proposed a time cannot confirm it, only take it back.";
    PROPOSAL_CHANGED = "proposal_changed", 409, "Another time is proposed now",
        "The answer was meant for a proposal that was replaced meanwhile. Nothing was changed; answer the one that stands.";
    TOO_MANY_PROPOSALS = "too_many_proposals", 409, "Too many other times were proposed",
        "The two propose twenty other times for a meeting at most. Its application can still move it.";
    SAME_PERSON = "same_person", 422, "Caller and receiver are the same",
        "Caller and receiver of a meeting are two people.";
    NUMBER_NEEDED = "number_needed", 422, "A party needs a number",
        "A party that talks by phone has a number. Give one, or let the party talk in the browser.";
    TOO_MANY_ATTEMPTS = "too_many_attempts", 409, "The meeting was called too often",
        "A meeting makes at most a hundred calls.";
    MEETING_VETOED = "meeting_vetoed", 403, "The application does not allow this call",
        "The application's veto_url was asked before the call, and answered 403.";
}

/// What the model refuses, by its stable name.
fn code_of(refused: Refused) -> Code {
    match refused {
        Refused::TooEarly => MEETING_NOT_OPEN,
        Refused::Ended => MEETING_ENDED,
        Refused::InCall => MEETING_IN_CALL,
        Refused::NotBegun => MEETING_NOT_BEGUN,
        Refused::ExtendLimit { .. } => EXTEND_LIMIT,
        Refused::Duration => DURATION_OUT_OF_RANGE,
        Refused::NoSuchTime => TIME_OUT_OF_RANGE,
        Refused::NothingProposed => NOTHING_PROPOSED,
        Refused::OwnProposal => OWN_PROPOSAL,
        Refused::ProposalChanged => PROPOSAL_CHANGED,
        Refused::TooManyProposals => TOO_MANY_PROPOSALS,
        Refused::SamePerson => SAME_PERSON,
        Refused::NoNumber { .. } => NUMBER_NEEDED,
        Refused::TooManyAttempts => TOO_MANY_ATTEMPTS,
    }
}

impl From<MeetingError> for Problem {
    fn from(error: MeetingError) -> Self {
        match error {
            MeetingError::NotFound => Self::not_found(),
            MeetingError::Refused(refused) => {
                let problem = Self::new(code_of(refused)).detail(refused.to_string());
                let field = match refused {
                    Refused::ExtendLimit { .. } => "/seconds",
                    Refused::Duration => "/duration",
                    Refused::NoSuchTime => "/start_at",
                    Refused::SamePerson => "/receiver/uid",
                    Refused::NoNumber { who: Role::Caller } => "/caller/number",
                    Refused::NoNumber { who: Role::Receiver } => "/receiver/number",
                    _ => return problem,
                };
                problem.and(field, refused.code(), refused.to_string())
            }
            MeetingError::Vetoed => Self::new(MEETING_VETOED),
            MeetingError::Taken | MeetingError::Busy => Self::new(kernel_codes::CONFLICT).detail(error.to_string()),
            MeetingError::Limit(wait) => wait.into(),
            MeetingError::Draining => Self::new(kernel_codes::UNAVAILABLE).retry_after(5),
            MeetingError::Org(error) => error.into(),
            MeetingError::Secret(_) | MeetingError::Db(_) | MeetingError::Call(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_code_of_its_name() {
        for refused in [
            Refused::TooEarly,
            Refused::Ended,
            Refused::InCall,
            Refused::NotBegun,
            Refused::ExtendLimit { left_ms: 0 },
            Refused::Duration,
            Refused::NoSuchTime,
            Refused::NothingProposed,
            Refused::OwnProposal,
            Refused::ProposalChanged,
            Refused::TooManyProposals,
            Refused::SamePerson,
            Refused::NoNumber { who: Role::Caller },
            Refused::TooManyAttempts,
        ] {
            assert_eq!(code_of(refused).code, refused.code());
            assert!(ALL.contains(&code_of(refused)));
        }
    }
}
