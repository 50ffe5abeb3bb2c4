//! Why a leg ended: the platform's causes and their SIP and Q.850 codes (contract flows, "Causes").
//!
//! Invariant: every cause has exactly one name on the wire, and every final SIP status maps to exactly one cause.

use std::fmt;

/// Why a leg or a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Hung up in the usual way.
    Normal,
    /// The party is busy (486, 600).
    Busy,
    /// The party declined (603, 403, 608).
    Rejected,
    /// Nobody answered (408, 480, our ring timer).
    NoAnswer,
    /// Given up before the answer (487).
    Canceled,
    /// The number does not exist or is malformed (404, 410, 484, 604).
    InvalidNumber,
    /// No codec or transport in common (415, 488, 606).
    MediaIncompatible,
    /// The trunk refused our credentials (401, 407).
    TrunkAuth,
    /// The other server is overloaded or broken (500, 502 to 504).
    Congestion,
    /// No trunk takes the number.
    NoRoute,
    /// An extension without a registration, or a transport failure.
    Unreachable,
    /// No RTP and no RTCP for the media time-out on an answered leg that is not on hold.
    MediaTimeout,
    /// The call reached its time limit.
    TimeLimit,
    /// The caller pressed nothing.
    NoInput,
    /// The caller pressed something that leads nowhere.
    InvalidInput,
    /// The flow, or whoever drove the call, failed.
    FlowError,
    /// The flow reached its limit of visits or steps.
    FlowLimit,
    /// The server was restarted during the call.
    ServerRestart,
}

impl Cause {
    /// Every cause, in the contract's order.
    pub const ALL: [Self; 18] = [
        Self::Normal,
        Self::Busy,
        Self::Rejected,
        Self::NoAnswer,
        Self::Canceled,
        Self::InvalidNumber,
        Self::MediaIncompatible,
        Self::TrunkAuth,
        Self::Congestion,
        Self::NoRoute,
        Self::Unreachable,
        Self::MediaTimeout,
        Self::TimeLimit,
        Self::NoInput,
        Self::InvalidInput,
        Self::FlowError,
        Self::FlowLimit,
        Self::ServerRestart,
    ];

    /// The name in events and rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Busy => "busy",
            Self::Rejected => "rejected",
            Self::NoAnswer => "no_answer",
            Self::Canceled => "canceled",
            Self::InvalidNumber => "invalid_number",
            Self::MediaIncompatible => "media_incompatible",
            Self::TrunkAuth => "trunk_auth",
            Self::Congestion => "congestion",
            Self::NoRoute => "no_route",
            Self::Unreachable => "unreachable",
            Self::MediaTimeout => "media_timeout",
            Self::TimeLimit => "time_limit",
            Self::NoInput => "no_input",
            Self::InvalidInput => "invalid_input",
            Self::FlowError => "flow_error",
            Self::FlowLimit => "flow_limit",
            Self::ServerRestart => "server_restart",
        }
    }

    /// The cause of that name, or none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == name)
    }

    /// The cause that a final SIP status stands for. A 3xx that was not followed any further counts as no route.
    #[must_use]
    pub const fn from_sip(status: u16) -> Self {
        match status {
            200..=299 => Self::Normal,
            300..=399 => Self::NoRoute,
            486 | 600 => Self::Busy,
            408 | 480 => Self::NoAnswer,
            487 => Self::Canceled,
            404 | 410 | 484 | 604 => Self::InvalidNumber,
            415 | 488 | 606 => Self::MediaIncompatible,
            401 | 407 => Self::TrunkAuth,
            500..=599 => Self::Congestion,
            _ => Self::Rejected,
        }
    }

    /// The final SIP status with which an unanswered incoming leg is refused for this cause.
    #[must_use]
    pub const fn sip_status(self) -> u16 {
        match self {
            Self::Busy => 486,
            Self::NoAnswer | Self::Unreachable | Self::TimeLimit => 480,
            Self::Canceled => 487,
            Self::InvalidNumber | Self::NoRoute => 404,
            Self::MediaIncompatible => 488,
            Self::Congestion | Self::TrunkAuth | Self::FlowLimit | Self::ServerRestart => 503,
            Self::FlowError => 500,
            Self::Normal | Self::Rejected | Self::MediaTimeout | Self::NoInput | Self::InvalidInput => 603,
        }
    }

    /// The Q.850 cause for a Reason header (RFC 3326), after the mapping of RFC 3398, section 8.2.6.1.
    #[must_use]
    pub const fn q850(self) -> u8 {
        match self {
            Self::Normal | Self::Canceled | Self::TimeLimit | Self::NoInput | Self::InvalidInput => 16,
            Self::Busy => 17,
            Self::NoAnswer => 19,
            Self::Unreachable => 20,
            Self::Rejected => 21,
            Self::InvalidNumber => 1,
            Self::NoRoute => 3,
            Self::MediaIncompatible => 88,
            Self::TrunkAuth => 57,
            Self::Congestion => 42,
            Self::MediaTimeout => 102,
            Self::FlowError | Self::FlowLimit | Self::ServerRestart => 41,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
        }
        assert_eq!(Cause::parse("boredom"), None);
    }

    #[test]
    fn sip_statuses_map_as_the_contract_lists_them() {
        let table: [(Cause, &[u16]); 8] = [
            (Cause::Busy, &[486, 600]),
            (Cause::Rejected, &[603, 403, 608, 418, 699]),
            (Cause::NoAnswer, &[408, 480]),
            (Cause::Canceled, &[487]),
            (Cause::InvalidNumber, &[404, 410, 484, 604]),
            (Cause::MediaIncompatible, &[415, 488, 606]),
            (Cause::TrunkAuth, &[401, 407]),
            (Cause::Congestion, &[500, 502, 503, 504, 505, 580]),
        ];
        for (cause, statuses) in table {
            for &status in statuses {
                assert_eq!(Cause::from_sip(status), cause, "{status}");
            }
        }
    }
}
