//! Replaces (RFC 3891): one dialog takes another's place, which is how phones transfer with consultation.
//!
//! A phone names the dialog in an INVITE of its own, or in the Refer-To of a REFER. Invariant: only a dialog that is
//! named by all three of its parts, and that both sides have answered, is ever replaced.

use super::endpoint::{Endpoint, leg_of_tag};
use super::legs::Held;
use super::message::{Message, Name};
use super::uri;
use crate::leg::{LegId, Replaced};

/// The dialog that a Replaces value names, as its peer sees it.
#[derive(Debug, PartialEq, Eq)]
struct Named<'a> {
    call_id: &'a str,
    /// Our tag.
    to_tag: &'a str,
    /// The peer's tag.
    from_tag: &'a str,
    /// Not if the dialog is answered.
    early_only: bool,
}

impl<'a> Named<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let (call_id, params) = value.split_once(';')?;
        Some(Self {
            call_id: call_id.trim(),
            to_tag: uri::param(params, "to-tag")?,
            from_tag: uri::param(params, "from-tag")?,
            early_only: uri::param(params, "early-only").is_some(),
        })
    }
}

impl Endpoint {
    /// The leg that a Refer-To's Replaces names.
    pub(super) fn referred_to(&self, value: &str) -> Replaced {
        let held = Named::parse(value).and_then(|named| self.held(&named)).filter(|held| held.leg.is_talking());
        held.map_or(Replaced::Stranger, |held| Replaced::Leg(held.id().clone()))
    }

    /// The leg whose place an INVITE wants, if it wants one's; else the status by which it is refused (RFC 3891 §3).
    pub(super) fn replaced_by(&self, invite: &Message) -> Result<Option<LegId>, u16> {
        let mut values = invite.fields(Name::Replaces);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(400);
        }
        let named = Named::parse(value).ok_or(400_u16)?;
        let held = self.held(&named).filter(|held| held.leg.is_talking()).ok_or(481_u16)?;
        if named.early_only {
            return Err(486);
        }
        Ok(Some(held.id().clone()))
    }

    fn held(&self, named: &Named<'_>) -> Option<&Held> {
        let held = self.legs.get(&leg_of_tag(named.to_tag)?)?;
        let dialog = &held.leg.dialog;
        let is_it =
            dialog.call_id == named.call_id && dialog.local_tag == named.to_tag && dialog.remote_tag == named.from_tag;
        is_it.then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_is_named_by_three_parts_in_any_order() {
        let named = Named { call_id: "a@b", to_tag: "1.2", from_tag: "x", early_only: false };
        assert_eq!(Named::parse("a@b;to-tag=1.2;from-tag=x").as_ref(), Some(&named));
        assert_eq!(Named::parse("a@b ; from-tag=x ;to-tag=1.2").as_ref(), Some(&named));
        let early = Named { early_only: true, ..named };
        assert_eq!(Named::parse("a@b;from-tag=x;to-tag=1.2;early-only"), Some(early));
        for bad in ["", "a@b", "a@b;to-tag=1", "a@b;from-tag=1", ";;;"] {
            assert_eq!(Named::parse(bad), None, "{bad}");
        }
    }
}
