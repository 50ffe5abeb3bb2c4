//! `menu`: `digits` with its prompt written into the step itself (`text`, `url`, `voice`, `language`, `loop`).

use super::{digits::Digits, prompt::Prompt};
use crate::flows::check::fields::Fields;

pub(super) fn read(fields: &mut Fields<'_>) -> Digits {
    let prompt = match fields.value("prompt") {
        Some(_) => Prompt::read_field(fields, "prompt"),
        None => Some(Prompt::read(fields)),
    };
    let loops = fields.integer("loop", 1..=20, 1);
    Digits { loops, ..Digits::read_with(fields, prompt) }
}
