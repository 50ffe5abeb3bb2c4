//! Whose datagram it is that came to the port which all browsers' legs of a thread share.
//!
//! Invariant: an address leads to a leg only after a check of that leg's own browser has come from it, and to no other leg
//! while that one is heard from there.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use str0m::ice::StunMessage;

use super::browser::is_stun;

/// Addresses that one browser may have; with the next one the one that was silent longest is forgotten.
const MAX_ADDRESSES: usize = 8;
/// An address from which no check came for so long may belong to somebody else by now, microseconds.
const STALE_US: u64 = 30_000_000;

/// The legs that browsers may call, by slot.
#[derive(Debug, Default)]
pub(super) struct Callers {
    by_name: HashMap<Arc<str>, usize>,
    by_address: HashMap<SocketAddr, Known>,
}

#[derive(Debug)]
struct Known {
    slot: usize,
    checked_us: u64,
}

impl Callers {
    /// The leg in `slot` is called by `name` (our ICE user name fragment) from now on, and by no other: checks by the name
    /// before an ICE restart would not be authentic.
    pub(super) fn name(&mut self, slot: usize, name: &Arc<str>) {
        if self.by_name.get(name) != Some(&slot) {
            self.by_name.retain(|_, at| *at != slot);
            self.by_name.insert(name.clone(), slot);
        }
    }

    /// The leg in `slot` is gone.
    pub(super) fn forget(&mut self, slot: usize) {
        self.by_name.retain(|_, at| *at != slot);
        self.by_address.retain(|_, known| known.slot != slot);
    }

    /// The leg that a datagram is for: a check says it by name, anything else by where it comes from.
    pub(super) fn whose(&self, from: SocketAddr, datagram: &[u8]) -> Option<usize> {
        if !is_stun(datagram) {
            return self.by_address.get(&from).map(|known| known.slot);
        }
        let check = StunMessage::parse(datagram).ok()?;
        let (name, _) = check.split_username()?;
        self.by_name.get(name).copied()
    }

    /// An authentic check of the browser in `slot` came from an address.
    pub(super) fn checked(&mut self, now_us: u64, from: SocketAddr, slot: usize) {
        if let Some(known) = self.by_address.get_mut(&from) {
            if known.slot == slot || now_us.saturating_sub(known.checked_us) >= STALE_US {
                *known = Known { slot, checked_us: now_us };
            }
            return;
        }
        let own = || self.by_address.iter().filter(|(_, known)| known.slot == slot);
        if own().count() >= MAX_ADDRESSES
            && let Some(oldest) = own().min_by_key(|(_, known)| known.checked_us).map(|(address, _)| *address)
        {
            self.by_address.remove(&oldest);
        }
        self.by_address.insert(from, Known { slot, checked_us: now_us });
    }

    /// Whether nobody is known.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.by_address.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    const AUDIO: [u8; 12] = [128, 111, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];

    #[test]
    fn an_address_leads_to_the_leg_whose_check_came_from_it() {
        let mut callers = Callers::default();
        assert_eq!(callers.whose(at(1), &AUDIO), None);
        callers.checked(0, at(1), 7);
        callers.checked(0, at(2), 8);
        assert_eq!((callers.whose(at(1), &AUDIO), callers.whose(at(2), &AUDIO)), (Some(7), Some(8)));
        callers.forget(7);
        assert_eq!((callers.whose(at(1), &AUDIO), callers.whose(at(2), &AUDIO)), (None, Some(8)));
        callers.forget(8);
        assert!(callers.is_empty());
    }

    #[test]
    fn nobody_takes_an_address_from_who_is_there() {
        let mut callers = Callers::default();
        callers.checked(0, at(1), 7);
        callers.checked(STALE_US - 1, at(1), 8);
        assert_eq!(callers.whose(at(1), &AUDIO), Some(7));
        callers.checked(STALE_US, at(1), 8);
        assert_eq!(callers.whose(at(1), &AUDIO), Some(8), "the router has given the port to another one");
    }

    #[test]
    fn a_browser_that_moves_a_lot_takes_no_more_room() {
        let mut callers = Callers::default();
        (0..100).for_each(|port| callers.checked(port.into(), at(port), 7));
        assert_eq!(callers.by_address.len(), MAX_ADDRESSES);
        assert_eq!(callers.whose(at(99), &AUDIO), Some(7));
        (0..10).for_each(|restart| callers.name(7, &Arc::from(format!("name{restart}"))));
        assert_eq!(callers.by_name.iter().collect::<Vec<_>>(), [(&Arc::from("name9"), &7)]);
    }
}
