//! Each sentence of the contract's "Behaviour" and "When it ends", and random schedules.
