//! `set`: gives variables values. The texts stand as they are: templates in them are not filled
//! (contracts/flows.md "Templates" lists the places where they are).

use super::{Context, Exit, Turn};
use crate::flows::{check::fields::Fields, template::MAX_VALUE};

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
        for (name, value) in &vars {
            let path = fields.path("vars").key(name);
            if value.len() > MAX_VALUE {
                let message = format!("a variable holds {MAX_VALUE} bytes at most");
                fields.found.report.error("limit_exceeded", path.clone(), message);
            }
            fields.sets(name, path);
        }
        Self { vars }
    }

    pub(super) fn start(&self, context: &mut Context<'_>) -> Turn {
        for (name, value) in &self.vars {
            if let Err(too_much) = context.variables.keep(name, value.as_str()) {
                return Turn::Done(Exit::failed("fail", too_much.to_string()));
            }
        }
        Turn::Done(Exit::completed())
    }
}
