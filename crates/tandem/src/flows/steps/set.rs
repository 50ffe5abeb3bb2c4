//! `set`: gives variables values. The texts stand as they are: templates in them are not filled
//! (contracts/flows.md "Templates" lists the places where they are).

use super::{Context, Exit, Turn};
use crate::flows::{check::fields::Fields, lenient::push_segment};

/// Configuration of a `set` step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Names and values.
    pub vars: Vec<(String, String)>,
}

impl Set {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        if fields.value("vars").is_none() {
            fields.missing("vars");
        }
        let vars = fields.text_map("vars");
        for (name, _) in &vars {
            let mut path = fields.path("vars");
            push_segment(&mut path, name);
            fields.sets(name, path);
        }
        Self { vars }
    }

    pub(super) fn start(&self, context: &mut Context<'_>) -> Turn {
        for (name, value) in &self.vars {
            context.variables.set(name, value.as_str());
        }
        Turn::Done(Exit::completed())
    }
}
