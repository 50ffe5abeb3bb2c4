//! `hangup`: ends the call, cause `normal`.

use voice::cause::Cause;

use super::{Exit, Turn};

pub(super) fn start() -> Turn {
    Turn::Done(Exit::last("completed", Cause::Normal))
}
