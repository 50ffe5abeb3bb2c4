//! SMS by a POST to the operator's provider: a form as Twilio takes it, or JSON after a template.
//!
//! Invariant: what is given only ever becomes a value of a field; the URL and the credentials are the operator's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::{Letter, Outcome, Provider, cut};
use crate::config::Config;
use crate::egress::{Egress, EgressError, EgressRequest, EgressResponse};

/// Longest text that is sent, in characters: what Twilio takes, ten parts of one message.
const MAX_TEXT: usize = 1_600;
/// For one POST.
const SEND_TIMEOUT_MS: u64 = 30_000;
/// Of an answer, so much is read, in bytes, and so much of it is a reason.
const MAX_ANSWER: usize = 64 * 1024;
const MAX_SAID: usize = 200;
/// Digits of an international number (ITU-T E.164, 6.2.1), the shortest that anybody has included.
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Answers that say "not now", or that are about our credentials: right settings make it go.
const TEMPORARY: [u16; 6] = [401, 403, 407, 408, 425, 429];

/// The operator's provider.
pub(super) struct Sms {
    egress: Egress,
    url: Url,
    authorization: Option<String>,
    from: String,
    /// Absent = a form.
    template: Option<Value>,
}

/// Checks a template of a body: JSON, with `{to}` and `{text}` in it.
pub(crate) fn check_template(text: &str) -> Result<Value, &'static str> {
    let template: Value = serde_json::from_str(text).map_err(|_| "this is not JSON")?;
    let mut found = Vec::new();
    // What is filled in does not matter: the names that are asked for do.
    fill(&template, &mut |name| {
        found.push(name.to_owned());
        None
    });
    let has = |name: &str| found.iter().any(|found| found == name);
    if has("to") && has("text") { Ok(template) } else { Err("\"{to}\" and \"{text}\" must stand in it") }
}

impl Sms {
    /// As `[sms]` says.
    ///
    /// # Errors
    /// What of it cannot be used, in a sentence.
    pub(super) fn new(config: &Config, egress: Egress) -> Result<Self, String> {
        let sms = &config.sms;
        let url = sms.url.as_deref().and_then(|url| Url::parse(url).ok()).ok_or("sms.url: a URL")?;
        let template = sms.json.as_deref().map(check_template).transpose().map_err(|why| format!("sms.json: {why}"))?;
        let basic = sms.user.as_ref().zip(sms.password.as_ref());
        let basic =
            basic.map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose()))));
        let bearer = sms.token.as_ref().map(|token| format!("Bearer {}", token.expose()));
        let from = sms.from.clone().unwrap_or_default();
        Ok(Self { egress, url, authorization: basic.or(bearer), from, template })
    }

    /// Asks the provider's URL for an answer, without sending anything.
    pub(super) async fn examine(&self) -> Result<String, String> {
        let host = self.url.host_str().unwrap_or_default();
        match self.egress.send(self.request(Method::GET)).await {
            Ok(answer) if matches!(answer.status, 401 | 403) => {
                Err(format!("{host} answers {}: it does not take our credentials", answer.status))
            }
            Ok(answer) if answer.status >= 500 => Err(format!("{host} answers {}", answer.status)),
            Ok(answer) => Ok(format!("{host} answers ({})", answer.status)),
            Err(error) => Err(format!("{host}: {error}")),
        }
    }

    fn request(&self, method: Method) -> EgressRequest {
        let mut request = EgressRequest::new(method, self.url.clone());
        request.timeout_ms = SEND_TIMEOUT_MS;
        request.max_body = MAX_ANSWER;
        request.headers.extend(self.authorization.iter().map(|value| ("authorization".to_owned(), value.clone())));
        request
    }

    /// The type of the body, and the body.
    fn body(&self, letter: &Letter<'_>) -> (&'static str, String) {
        let text: String = letter.text.chars().take(MAX_TEXT).collect();
        match &self.template {
            None => {
                let fields = [("To", letter.to), ("From", &self.from), ("Body", &text)];
                let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                ("application/x-www-form-urlencoded", body)
            }
            Some(template) => {
                let filled = fill(template, &mut |name| match name {
                    "to" => Some(letter.to.to_owned()),
                    "from" => Some(self.from.clone()),
                    "text" => Some(text.clone()),
                    "id" => Some(letter.id.to_owned()),
                    _ => None,
                });
                ("application/json", filled.to_string())
            }
        }
    }
}

impl Provider for Sms {
    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if !is_number(letter.to) {
                return Outcome::Refused(
                    "the recipient is not an international number such as +442071838750".to_owned(),
                );
            }
            let (kind, body) = self.body(letter);
            let mut request = self.request(Method::POST);
            request.headers.push(("content-type".to_owned(), kind.to_owned()));
            // The same each time it is sent, for a provider that looks at it.
            request.headers.push(("idempotency-key".to_owned(), letter.id.to_owned()));
            request.body = body.into();
            judge(self.egress.send(request).await)
        })
    }
}

fn judge(answer: Result<EgressResponse, EgressError>) -> Outcome {
    match answer {
        Ok(answer) => {
            let said = String::from_utf8_lossy(&answer.body);
            let reason = format!("the provider answered {}: {}", answer.status, cut(&said, MAX_SAID));
            match answer.status {
                200..=299 => Outcome::Sent,
                code if (400..=499).contains(&code) && !TEMPORARY.contains(&code) => Outcome::Refused(reason),
                _ => Outcome::Later(reason),
            }
        }
        // It has the POST, and may have sent it: too large an answer is an answer.
        Err(error @ EgressError::TooLarge { .. }) => Outcome::Refused(error.to_string()),
        Err(error @ (EgressError::Timeout | EgressError::Broken(_))) => Outcome::Unknown(error.to_string()),
        Err(error) => Outcome::Unreachable(error.to_string()),
    }
}

fn is_number(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|digits| NUMBER_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A template with the `{name}`s in its texts replaced in one pass: what is filled in is not read again.
fn fill(template: &Value, given: &mut dyn FnMut(&str) -> Option<String>) -> Value {
    match template {
        Value::String(text) => Value::String(fill_text(text, given)),
        Value::Array(items) => items.iter().map(|item| fill(item, given)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), fill(value, given)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn fill_text(mut text: &str, given: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut out = String::new();
    while let Some((before, rest)) = text.split_once('{') {
        out.push_str(before);
        match rest.split_once('}').and_then(|(name, after)| Some((given(name)?, after))) {
            Some((value, after)) => {
                out.push_str(&value);
                text = after;
            }
            None => {
                out.push('{');
                text = rest;
            }
        }
    }
    out + text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sms(json: Option<&str>) -> Sms {
        let mut config = Config::default();
        config.sms.url = Some("https://sms.example.org/send".into());
        config.sms.from = Some("+15005550006".into());
        config.sms.json = json.map(str::to_owned);
        Sms::new(&config, Egress::new(&config.egress).unwrap()).unwrap()
    }

    const LETTER: Letter<'static> =
        Letter { id: "ntc_1", to: "+442071838750", subject: "", text: "1 & 2=\"3\" {from}\nÜ", now_ms: 0 };

    #[test]
    fn a_form_has_to_from_and_body() {
        let (kind, body) = sms(None).body(&LETTER);
        assert_eq!(kind, "application/x-www-form-urlencoded");
        assert_eq!(body, "To=%2B442071838750&From=%2B15005550006&Body=1+%26+2%3D%223%22+%7Bfrom%7D%0A%C3%9C");
    }

    #[test]
    fn a_template_is_filled_in_once_and_nothing_gets_out_of_its_text() {
        let template = r#"{"to":["{to}"],"from":"{from}","text":"Acme: {text}","n":1,"odd":"{x} { {to","ref":"{id}"}"#;
        let (kind, body) = sms(Some(template)).body(&LETTER);
        assert_eq!(kind, "application/json");
        let expected = serde_json::json!({
            "to": ["+442071838750"], "from": "+15005550006", "text": "Acme: 1 & 2=\"3\" {from}\nÜ", "n": 1,
            "odd": "{x} { {to", "ref": "ntc_1",
        });
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
        for bad in ["{", "{\"to\":\"{to}\"}", "{\"text\":\"{text}\"}", "[]"] {
            assert!(check_template(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_international() {
        assert!(is_number("+442071838750"));
        for bad in ["", "+", "442071838750", "+44 207", "+44207183875x", "+1234567890123456", "+442071838750\n"] {
            assert!(!is_number(bad), "{bad}");
        }
    }

    #[test]
    fn a_long_text_is_cut_where_characters_end() {
        let text = "é".repeat(2_000);
        let (_, body) = sms(Some(r#"["{to}", "{text}"]"#)).body(&Letter { text: &text, ..LETTER });
        let body: Vec<String> = serde_json::from_str(&body).unwrap();
        assert_eq!(body[1].chars().count(), MAX_TEXT);
    }
}
