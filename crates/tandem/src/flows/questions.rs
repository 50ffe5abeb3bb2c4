//! Answers what a check left open: numbers, entities, caller ids and URLs, by the organisation's directory and the
//! operator's egress list.

use calls::{Destination, Directory, NumberError, ResolveError};
use kernel::Kernel;
use url::Url;

use super::{
    Flows,
    check::{Ask, Checked, Purpose, Question, Report, check},
    lenient::Reading,
    model::Flow,
};

/// Whom to ask: the organisations' directory, and what the operator lets out.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// The ground.
    pub kernel: &'a Kernel,
    /// Who has which number.
    pub directory: &'a Directory,
}

/// Checks what was read, without any organisation's data.
#[must_use]
pub fn check_reading(reading: &Reading, purpose: Purpose, now_ms: i64) -> Checked {
    let mut checked = check(&reading.value, purpose, now_ms);
    if reading.lenient {
        checked.report.warn("lenient_json", "", "this is not strict JSON; it was read as it is meant");
    }
    checked
}

impl Flows {
    /// As [`Judge::judge`].
    pub(crate) async fn judge(
        &self,
        org: &str,
        reading: &Reading,
        purpose: Purpose,
    ) -> Result<(Option<Flow>, Report), ResolveError> {
        Judge { kernel: self.kernel(), directory: self.calls().directory() }.judge(org, reading, purpose).await
    }
}

impl Judge<'_> {
    /// Checks what was read, the organisation's data included: the flow if it can run, and the report.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn judge(
        &self,
        org: &str,
        reading: &Reading,
        purpose: Purpose,
    ) -> Result<(Option<Flow>, Report), ResolveError> {
        let Checked { flow, mut report, questions } = check_reading(reading, purpose, self.kernel.clock.now_ms());
        self.answer(org, &questions, &mut report).await?;
        Ok((flow.filter(|_| report.errors.is_empty()), report))
    }

    /// Adds to the report what the questions bring to light.
    ///
    /// # Errors
    /// When the store fails; the flow is neither good nor bad then.
    async fn answer(&self, org: &str, questions: &[Question], report: &mut Report) -> Result<(), ResolveError> {
        for Question { path, ask } in questions {
            match ask {
                Ask::Number(number) => match self.resolve(org, number).await? {
                    Ok(_) => {}
                    Err(NumberError::Unknown) => {
                        report.error("unknown_entity", path, format!(
                                "nobody has the number {number}; one outside is written with its country code, such as +442071838750"
                            ));
                    }
                    Err(error) => report.error("number_not_allowed", path, error.to_string()),
                },
                Ask::Entity(number) => {
                    if !is_entity(self.resolve(org, number).await?.as_ref()) {
                        report.error("unknown_entity", path, format!("no person and no team has the number {number}"));
                    }
                }
                Ask::Team(number) => {
                    if !matches!(self.resolve(org, number).await?, Ok(Destination::Team(_))) {
                        report.error("unknown_entity", path, format!("no team has the number {number}"));
                    }
                }
                Ask::Mailbox(number) => {
                    if !matches!(self.resolve(org, number).await?, Ok(Destination::Person(_))) {
                        report.error("unknown_entity", path, format!("no person has the number {number}"));
                    }
                }
                Ask::CallerId { wanted, callee, customer } => {
                    let wish = CallerIdWish { wanted, callee: callee.as_deref(), customer: customer.as_deref() };
                    self.answer_caller_id(org, wish, path, report).await?;
                }
                Ask::Url(url) => self.answer_url(url, path, report),
            }
        }
        Ok(())
    }

    /// What a number leads to; errors of the number itself are an answer.
    async fn resolve(&self, org: &str, number: &str) -> Result<Result<Destination, NumberError>, ResolveError> {
        match self.directory.resolve(org, number).await {
            Ok(destination) => Ok(Ok(destination)),
            Err(ResolveError::Number(error)) => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    async fn answer_caller_id(
        &self,
        org: &str,
        wish: CallerIdWish<'_>,
        path: &str,
        report: &mut Report,
    ) -> Result<(), ResolveError> {
        let CallerIdWish { wanted, callee, customer } = wish;
        let outside = match callee {
            None => true,
            Some(callee) => !self.resolve(org, callee).await?.is_ok_and(|destination| destination.is_inside()),
        };
        let chosen = self.directory.caller_id(org, Some(wanted), customer, outside).await?;
        if chosen.replaced {
            let shown = chosen.number.as_deref().unwrap_or("no number");
            report.warn(
                "caller_id_replaced",
                path,
                format!(
                    "{wanted} is not a number of yours; {shown} is shown instead. Yours are those of /v1/numbers and of \
                     the setting caller_ids"
                ),
            );
        }
        Ok(())
    }

    fn answer_url(&self, url: &str, path: &str, report: &mut Report) {
        let egress = &self.kernel.egress;
        let judged = Url::parse(url).map(|url| match url.scheme() {
            "ws" | "wss" => egress.judge_stream(&url),
            _ => egress.judge_literal(&url),
        });
        match judged {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report.error("url_blocked", path, error.to_string()),
            Err(error) => report.error("invalid_url", path, error.to_string()),
        }
    }
}

/// See [`Ask::CallerId`].
#[derive(Clone, Copy)]
struct CallerIdWish<'a> {
    wanted: &'a str,
    callee: Option<&'a str>,
    customer: Option<&'a str>,
}

/// Whether a callback can ring it.
pub(super) fn is_entity(destination: Result<&Destination, &NumberError>) -> bool {
    matches!(destination, Ok(Destination::Person(_) | Destination::Team(_)))
}
