//! Orders of meetings as applications post them, without the way that they are posted.

use tandem::meetings::Order;
use tandem::meetings::model::{CallType, Party};

/// When the meetings of a test begin: 2027-03-01T12:00:00Z.
pub(crate) const START_MS: i64 = 1_803_902_400_000;
/// How long they last, in milliseconds.
pub(crate) const DURATION_MS: i64 = 9 * 60_000;
/// The numbers of the two.
pub(crate) const CALLER: &str = "+442071838103";
pub(crate) const RECEIVER: &str = "+442071838104";

/// Somebody who talks by phone.
pub(crate) fn on_phone(uid: &str, number: &str) -> Party {
    let name = format!("Person {uid}");
    Party { uid: uid.to_owned(), name, number: Some(number.to_owned()), email: None, call_type: CallType::Phone }
}

/// An order between two people, who talk by phone.
pub(crate) fn order(order_id: &str, uids: [&str; 2]) -> Order {
    let [caller, receiver] = uids;
    Order {
        order_id: order_id.to_owned(),
        caller: on_phone(caller, CALLER),
        receiver: on_phone(receiver, RECEIVER),
        starts_ms: Some(START_MS),
        duration_ms: DURATION_MS,
    }
}
