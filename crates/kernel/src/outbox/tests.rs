//! Stories of delivery.
