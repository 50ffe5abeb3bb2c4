//! Early dialogs of one INVITE: a proxy may ring several phones, each of which speaks for itself (RFC 3261 §12.1, §13.2.2.4).
//!
//! The leg speaks in one of them at a time, the one that spoke last; the others are parked with their part of the negotiation. The
//! answer decides which one stays.

use super::SipLeg;
use crate::sip::dialog::Dialog;
use crate::sip::sdp::Session;

/// Most phones of one INVITE that are told apart; what others say before they answer is not heard.
const MAX_FORKS: usize = 8;

/// How far an early dialog is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Early {
    /// Its last reliable response.
    rseq: Option<u32>,
    /// Our offer was answered reliably: what it says later about that offer is no answer.
    pub(super) answered: bool,
}

impl Early {
    /// Takes the number of a reliable response; false when it is out of order or repeated, and so not ours to acknowledge (RFC 3262 §4).
    pub(super) fn takes(&mut self, rseq: u32) -> bool {
        let next = self.rseq.is_none_or(|last| rseq == last.wrapping_add(1));
        if next {
            self.rseq = Some(rseq);
        }
        next
    }
}

/// An early dialog that is parked.
#[derive(Debug)]
pub(super) struct Fork {
    dialog: Dialog,
    session: Session,
    early: Early,
}

impl SipLeg {
    /// Whether this tag is of a peer that the leg speaks with.
    pub(crate) fn knows(&self, tag: &str) -> bool {
        let parked = |fork: &Fork| fork.dialog.remote_tag == tag;
        self.dialog.remote_tag.is_empty()
            || self.dialog.remote_tag == tag
            || self.caller.as_ref().is_some_and(|caller| caller.forks.iter().any(parked))
    }

    /// Speaks in the early dialog of this tag from now on; false when there are too many.
    pub(super) fn turn_to(&mut self, tag: &str) -> bool {
        if self.dialog.remote_tag.is_empty() || self.dialog.remote_tag == tag {
            return true;
        }
        let Some(caller) = self.caller.as_mut() else {
            return true;
        };
        let known = caller.forks.iter().position(|fork| fork.dialog.remote_tag == tag);
        let mut other = match known {
            Some(known) => caller.forks.swap_remove(known),
            None if caller.forks.len() < MAX_FORKS => {
                Fork { dialog: self.dialog.fork(), session: self.session.fork(), early: Early::default() }
            }
            None => return false,
        };
        std::mem::swap(&mut self.dialog, &mut other.dialog);
        std::mem::swap(&mut self.session, &mut other.session);
        std::mem::swap(&mut caller.now, &mut other.early);
        caller.forks.push(other);
        true
    }

    /// The peer of this tag has answered, and the others are forgotten: whether our offer was settled there before, and whether media may
    /// have been another's.
    pub(super) fn turn_to_winner(&mut self, tag: &str) -> (bool, bool) {
        if let Some(caller) = self.caller.as_mut()
            && caller.forks.len() >= MAX_FORKS
        {
            caller.forks.retain(|fork| fork.dialog.remote_tag == tag);
        }
        self.turn_to(tag);
        let Some(caller) = self.caller.as_mut() else {
            return (false, false);
        };
        let forked = !caller.forks.is_empty();
        caller.forks.clear();
        (caller.now.answered, forked)
    }
}
