//! Blind transfer by a phone (REFER, RFC 3515): whoever asks leaves, the other goes to a third.
//!
//! Invariant: a transfer is a new connect of the party that stays; only a phone of the organisation's
//! own may ask for it, and it goes only where the organisation may dial and somebody can be rung:
//! until that is known the two talk on. What a carrier or a stranger asks is declined. With consultation: [`crate::consultation`].

use voice::cause::Cause;
use voice::leg::LegId;

use crate::connect::Device;
use crate::dialling::Wanted;
use crate::directory::Directory;
use crate::driver::{CallEvent, Connect};
use crate::live::Live;
use crate::party::Party;
use crate::queue::Left;
use crate::routes::Asking;

/// A transfer that a phone asks for, until it is known whether there is anybody to ring.
#[derive(Clone)]
pub(crate) struct Referral {
    asking: LegId,
    number: String,
}

impl Live {
    /// A party asks to be replaced by `to`, a SIP URI.
    pub(crate) fn transfer_requested(&mut self, id: &LegId, to: &str) {
        let Some(party) = self.party(id) else { return };
        let asking = party.leg.clone();
        match user_part(to).filter(|_| self.may_transfer(id) && self.referral.is_none()) {
            Some(number) => self.referral = Some(Referral { asking: id.clone(), number }),
            None => asking.accept_transfer(false),
        }
    }

    /// Looks whether there is anybody to hand the other party to, and does so; otherwise the two talk on. Asked again
    /// when the driver gave up waiting.
    pub(crate) async fn look_up_referral(&mut self) {
        let Some(Referral { asking: id, number }) = self.referral.clone() else { return };
        let (directory, org) = (self.calls.directory().clone(), self.model.org.clone());
        let reachable = can_reach(&directory, &org, &number, self.depth).await;
        self.referral = None;
        if reachable && self.may_transfer(&id) {
            return self.hand_on(&id, number);
        }
        tracing::debug!(call = %self.model.id, reachable, "a transfer is declined");
        if let Some(party) = self.party(&id) {
            party.leg.accept_transfer(false);
        }
    }

    /// It is a phone of ours, and talks with the other. One of a pair talks with that other and nobody else.
    pub(crate) fn may_transfer(&self, id: &LegId) -> bool {
        !self.paired && self.party(id).is_some_and(Party::is_own_phone) && self.is_connected(id)
    }

    /// One of the two who are connected leaves, and the other goes to `number`.
    pub(crate) fn hand_on(&mut self, id: &LegId, number: String) {
        let Some(asking) = self.party(id).map(|party| party.leg.clone()) else { return };
        let by_customer = self.standing.as_ref() == Some(id);
        asking.accept_transfer(true);
        self.end_supervision();
        let (words, then_end) = (self.words(), self.dialling_ends_call() || by_customer);
        if by_customer {
            self.stand_on_other(id, self.bridged_device());
            self.tell(CallEvent::PartyChanged);
        }
        self.give_up_dialling();
        self.leave_queue(Left::Hangup);
        asking.hangup(Cause::Normal);
        self.wanted =
            Some(Wanted { connect: Connect::to(number), then_end, transfer: true, offer: None, words, party: None });
    }

    /// The customer's phone hands the other party on: the call stands on that one from now on.
    fn stand_on_other(&mut self, customer: &LegId, bridged: Option<Device>) {
        let other = self.parties.iter_mut().find(|party| party.device.is_some() && party.device == bridged);
        let Some(other) = other else { return };
        other.device = None;
        other.leg.unbridge();
        self.standing = Some(other.leg.id().clone());
        // The old dialling has lost its device to the call itself; what is left of it is nobody's.
        self.drop_dialling();
        if let Some(customer) = self.party_mut(customer) {
            customer.device = None;
        }
    }
}

/// Whether there is anybody to ring, or a queue to wait in.
async fn can_reach(directory: &Directory, org: &str, number: &str, depth: u8) -> bool {
    if directory.has_queue(org, &[number.to_owned()]).await {
        return true;
    }
    directory.route(org, number, Asking { depth, ..Asking::default() }).await.routes.is_ok()
}

/// The user part of a SIP URI, or a bare number.
pub(crate) fn user_part(to: &str) -> Option<String> {
    let to = to.trim().trim_start_matches('<').trim_end_matches('>');
    let rest = ["sip:", "sips:", "tel:"].into_iter().find_map(|scheme| to.strip_prefix(scheme)).unwrap_or(to);
    let user = rest.split(['@', ';', '?', '>']).next().unwrap_or_default();
    (!user.is_empty()).then(|| user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refer_to_is_read_whatever_its_form() {
        for to in ["sip:1002@example.org", "<sip:1002@example.org;user=phone>", "tel:1002", "1002", "sips:1002;x=y"] {
            assert_eq!(user_part(to).as_deref(), Some("1002"), "{to}");
        }
        assert_eq!(user_part("sip:@example.org"), None);
    }
}
