//! One party of a live call.

use media::codec::CodecKind;
use media::play::Sound;
use voice::leg::{Leg, PlayId};

use crate::connect::Device;
use crate::model::LegRole;
use crate::presence::Busy;
use crate::registry::Seat;

/// Rates at which calls are recorded, in samples a second.
const NARROW_BAND: u32 = 8_000;
const WIDE_BAND: u32 = 16_000;

/// One party that is there, or being dialled.
pub(crate) struct Party {
    pub(crate) leg: Leg,
    pub(crate) role: LegRole,
    /// Which device of the dialling it is; `None` for a caller.
    pub(crate) device: Option<Device>,
    /// The part of the whisper that it hears, and the parts that follow, the last first.
    pub(crate) whisper: Option<PlayId>,
    pub(crate) whisper_rest: Vec<Sound>,
    pub(crate) answered: bool,
    pub(crate) codec: Option<CodecKind>,
    /// Its extension counts as busy while it is here.
    pub(crate) busy: Option<Busy>,
    /// Others find the call by the leg while it is here.
    pub(crate) seat: Option<Seat>,
}

impl Party {
    /// A party that calls us.
    pub(crate) fn caller(leg: Leg, role: LegRole, busy: Option<Busy>) -> Self {
        Self {
            leg,
            role,
            device: None,
            whisper: None,
            whisper_rest: Vec::new(),
            answered: false,
            codec: None,
            busy,
            seat: None,
        }
    }

    /// A party that we dial.
    pub(crate) fn dialled(leg: Leg, role: LegRole, device: Device, busy: Option<Busy>) -> Self {
        Self { device: Some(device), ..Self::caller(leg, role, busy) }
    }

    /// It is a phone of the organisation's own, registered or calling by its line: it may ask for
    /// what costs the organisation money.
    pub(crate) fn is_own_phone(&self) -> bool {
        self.busy.is_some()
    }

    /// Samples a second that its audio is worth.
    pub(crate) fn recording_rate(&self) -> u32 {
        self.codec.map_or(NARROW_BAND, CodecKind::sample_rate).min(WIDE_BAND)
    }
}
