//! What others ask of a call that is up: by API, or another call. They arrive in one bounded mailbox a call.
//!
//! Invariant: a request acts on the call's own task, between two events of its legs.

use voice::Incoming;
use voice::leg::LegId;

use crate::conferring::Leaving;
use crate::consultation::HandOver;
use crate::live::Live;
use crate::presence::Busy;
use crate::supervision::Supervise;

/// Requests that may wait for a call.
pub(crate) const MAX_REQUESTS: usize = 32;

/// One request.
pub(crate) enum Request {
    /// Leave the conference: thrown out alone, or because it is over.
    LeaveConference { kicked: bool },
    /// Keep the recording of the conference, or no longer.
    KeepConference(bool),
    /// Let somebody listen.
    Supervise(Supervise),
    /// Let nobody listen any more.
    EndSupervision,
    /// Give a party to another call, in a transfer with consultation.
    HandOver(HandOver),
    /// Give a party's place to a phone that calls for it.
    Replace { leg: LegId, incoming: Box<Incoming>, busy: Busy },
}

impl Live {
    pub(crate) fn requested(&mut self, request: Request) {
        match request {
            Request::LeaveConference { kicked } => {
                self.leave_conference(if kicked { Leaving::Kicked } else { Leaving::Over });
            }
            Request::KeepConference(on) => self.keep_conference(on),
            Request::Supervise(supervise) => self.supervise(supervise),
            Request::EndSupervision => self.end_supervision(),
            Request::HandOver(wish) => self.hand_over(wish),
            Request::Replace { leg, incoming, busy } => self.replace(&leg, *incoming, busy),
        }
    }
}
