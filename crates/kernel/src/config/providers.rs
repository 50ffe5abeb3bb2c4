//! What `[mail]` and `[sms]` must say together.
//!
//! Invariant: no password goes to a server in the clear, and what is accepted here can be used to send.

use super::{Config, MailConfig, MailSecurity, SmsConfig};
use crate::notice::{MailServer, check_template, read_sender};

/// Checks both sections.
///
/// # Errors
/// What does not go together, in a sentence.
pub(super) fn check(config: &Config) -> Result<(), String> {
    check_mail(&config.mail)?;
    check_sms(&config.sms)
}

fn check_mail(mail: &MailConfig) -> Result<(), String> {
    let Some(server) = &mail.server else { return Ok(()) };
    if MailServer::read(server).is_none() {
        return Err("mail.server: a host such as smtp.example.org, with :port or without".to_owned());
    }
    if mail.from.as_deref().and_then(read_sender).is_none() {
        return Err("mail.from: whom the mail is from, such as \"Tandem <calls@example.org>\"".to_owned());
    }
    if mail.user.is_some() != mail.password.is_some() {
        return Err("mail.user and mail.password belong together: give both or neither".to_owned());
    }
    if mail.password.is_some() && mail.security == MailSecurity::None {
        return Err("mail.security: a password needs starttls or tls, not none".to_owned());
    }
    Ok(())
}

fn check_sms(sms: &SmsConfig) -> Result<(), String> {
    let Some(url) = &sms.url else { return Ok(()) };
    let is_url = url::Url::parse(url).is_ok_and(|url| {
        let is_open = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_open
    });
    if !is_url {
        return Err(
            "sms.url: a URL such as https://sms.example.org/send; user and password have keys of their own".to_owned()
        );
    }
    if sms.user.is_some() != sms.password.is_some() {
        return Err("sms.user and sms.password belong together: give both or neither".to_owned());
    }
    if sms.user.is_some() && sms.token.is_some() {
        return Err("sms.token stands instead of sms.user and sms.password: give one of them".to_owned());
    }
    match &sms.json {
        Some(json) => check_template(json).map(drop).map_err(|why| format!("sms.json: {why}")),
        None if sms.from.is_none() => Err("sms.from: the number or name that an SMS is from".to_owned()),
        None => Ok(()),
    }
}
