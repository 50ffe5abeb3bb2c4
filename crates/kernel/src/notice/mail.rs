//! Mail by SMTP to the operator's server, by STARTTLS, TLS from the start, or in the clear.
//!
//! Invariant: an address is one address or nothing is sent to it; no text of a notice becomes a header.

use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{AsyncSmtpTransport, Error};
use lettre::{Address, AsyncTransport, Message, Tokio1Executor};
use tokio::time::timeout;

use super::{Letter, Outcome, Provider};
use crate::config::{Config, MailSecurity};
use crate::record::check_email;

/// For one mail, from the connection to the server's word that it has it.
const SEND_TIMEOUT: Duration = Duration::from_secs(120);
/// For a connection, TLS and the credentials, when nothing is sent.
const EXAMINE_TIMEOUT: Duration = Duration::from_secs(10);
/// Replies about our credentials (RFC 4954, 6), not about the mail: right settings make it go.
const CREDENTIAL_REPLIES: [u16; 4] = [530, 534, 535, 538];
/// Made by a machine: nobody is out of office for it (RFC 3834, 5).
const AUTO_SUBMITTED: (HeaderName, &str) = (HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated");

/// Where the operator's mail server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) host: String,
    /// Absent = the usual one of its security.
    pub(crate) port: Option<u16>,
}

impl Server {
    /// Reads `smtp.example.org`, `smtp.example.org:587`, `192.0.2.1:25`, `[2001:db8::1]:25`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, rest)) => (host, Some(rest.strip_prefix(':')?.parse().ok()?)),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port.parse().ok()?)),
                None => (text, None),
            },
        };
        let is_host = host.parse::<std::net::IpAddr>().is_ok() || crate::record::is_host(host);
        (is_host && port != Some(0)).then(|| Self { host: host.to_owned(), port })
    }
}

/// Reads a sender: `calls@example.org` or `Tandem <calls@example.org>`.
pub(crate) fn read_sender(text: &str) -> Option<Mailbox> {
    text.parse::<Mailbox>().ok().filter(|_| !text.chars().any(char::is_control))
}

/// Whether mail can be sent to this: one address, as it is read when it is sent.
pub fn is_mail_address(text: &str) -> bool {
    address_of(text).is_some()
}

fn address_of(text: &str) -> Option<Address> {
    check_email(text).ok()?.parse().ok()
}

/// The operator's mail server.
pub(super) struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    place: String,
}

impl Mail {
    /// As `[mail]` says.
    ///
    /// # Errors
    /// What of it cannot be used, in a sentence.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let mail = &config.mail;
        let server =
            mail.server.as_deref().and_then(Server::read).ok_or("mail.server: a host, with :port or without")?;
        let from = mail.from.as_deref().and_then(read_sender).ok_or("mail.from: a mail address")?;
        let port = server.port.unwrap_or(mail.security.port());
        let tls = match mail.security {
            MailSecurity::None => Tls::None,
            MailSecurity::Starttls => Tls::Required(trust(&server.host, config)?),
            MailSecurity::Tls => Tls::Wrapper(trust(&server.host, config)?),
        };
        let credentials = mail.user.as_ref().zip(mail.password.as_ref());
        let credentials =
            credentials.map(|(user, password)| Credentials::new(user.clone(), password.expose().to_owned()));
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(port)
            .tls(tls)
            .timeout(Some(SEND_TIMEOUT))
            .hello_name(ClientId::Domain(own_name(config, &from)));
        if let Some(credentials) = credentials {
            builder = builder.credentials(credentials);
        }
        let place = format!("{}:{port} ({})", server.host, mail.security);
        Ok(Self { transport: builder.build(), from, place })
    }

    /// Connects and signs in, and says how that went.
    pub(super) async fn examine(&self) -> Result<String, String> {
        match timeout(EXAMINE_TIMEOUT, Box::pin(self.transport.test_connection())).await {
            Ok(Ok(true)) => Ok(format!("{} answers and takes what we say", self.place)),
            Ok(Ok(false)) => Err(format!("{} answers, and wants nothing of us", self.place)),
            Ok(Err(error)) => Err(format!("{}: {error}", self.place)),
            Err(_) => Err(format!("{} does not answer", self.place)),
        }
    }

    fn message(&self, letter: &Letter<'_>) -> Result<Message, String> {
        let address = address_of(letter.to).ok_or_else(|| "the recipient is not a mail address".to_owned())?;
        let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(letter.now_ms).unwrap_or(0));
        let (name, value) = AUTO_SUBMITTED;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, address))
            .subject(letter.subject)
            .date(now)
            // The same each time it is sent: whoever gets it twice sees it once.
            .message_id(Some(format!("<{}@{}>", letter.id, self.from.email.domain())))
            .raw_header(HeaderValue::new(name, value.to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.to_owned())
            .map_err(|error| error.to_string())
    }
}

impl Provider for Mail {
    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let message = match self.message(letter) {
                Ok(message) => message,
                Err(reason) => return Outcome::Refused(reason),
            };
            match timeout(SEND_TIMEOUT, self.transport.send(message)).await {
                Ok(Ok(_)) => Outcome::Sent,
                Ok(Err(error)) => judge(&error, letter.to.is_ascii()),
                Err(_) => Outcome::Unreachable("the mail server did not answer in time".to_owned()),
            }
        })
    }
}

fn judge(error: &Error, is_ascii: bool) -> Outcome {
    let reason = error.to_string();
    match error.status().map(u16::from) {
        Some(code) if error.is_permanent() && !CREDENTIAL_REPLIES.contains(&code) => Outcome::Refused(reason),
        Some(_) => Outcome::Later(reason),
        // An address that the server has no way to write.
        None if error.is_client() && !is_ascii => Outcome::Refused(reason),
        None => Outcome::Unreachable(reason),
    }
}

/// The name that we greet with: that of this server's pages, else the sender's domain.
fn own_name(config: &Config, from: &Mailbox) -> String {
    let public = config.public_url.as_deref().and_then(|url| url::Url::parse(url).ok());
    let host = public.as_ref().and_then(url::Url::domain);
    host.unwrap_or_else(|| from.email.domain()).to_owned()
}

/// The system's authorities, and the one that the operator added.
fn trust(host: &str, config: &Config) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(file) = &config.egress.ca_file {
        let refused = |reason: String| format!("egress.ca_file: {}: {reason}", file.display());
        let pem = std::fs::read(file).map_err(|error| refused(error.to_string()))?;
        builder =
            builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| refused(error.to_string()))?);
    }
    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts_with_a_port_or_without() {
        let read = |text: &str| Server::read(text).map(|server| (server.host, server.port));
        assert_eq!(read("smtp.example.org"), Some(("smtp.example.org".to_owned(), None)));
        assert_eq!(read("smtp.example.org:2525"), Some(("smtp.example.org".to_owned(), Some(2525))));
        assert_eq!(read("127.0.0.1:25"), Some(("127.0.0.1".to_owned(), Some(25))));
        assert_eq!(read("[2001:db8::1]:25"), Some(("2001:db8::1".to_owned(), Some(25))));
        for bad in ["", ":25", "a b", "smtp://x", "x:0", "x:99999", "[::1]25", "x\r\ny"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    fn mail() -> Mail {
        let mut config = Config::default();
        config.mail.server = Some("127.0.0.1:25".into());
        config.mail.security = MailSecurity::None;
        config.mail.from = Some("Tandem <calls@example.org>".into());
        Mail::new(&config).unwrap()
    }

    fn letter<'a>(to: &'a str, subject: &'a str) -> Letter<'a> {
        Letter { id: "ntc_1", to, subject, text: "Grüße.\n.\nBcc: eve@example.org\n", now_ms: 1_795_219_200_000 }
    }

    #[tokio::test]
    async fn nothing_that_is_given_becomes_a_header() {
        let subject = "Hello\r\nBcc: eve@example.org\r\n\r\nBody";
        let made = mail().message(&letter("ann@example.org", subject)).unwrap();
        assert_eq!(made.envelope().to().iter().map(ToString::to_string).collect::<Vec<_>>(), ["ann@example.org"]);
        let text = String::from_utf8(made.formatted()).unwrap();
        let (headers, _) = text.split_once("\r\n\r\n").unwrap();
        let names: Vec<_> = headers.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
        assert!(!names.iter().any(|name| name.eq_ignore_ascii_case("bcc")), "{headers}");
        assert!(headers.contains("Message-ID: <ntc_1@example.org>"), "{headers}");
        assert!(headers.contains("Auto-Submitted: auto-generated"), "{headers}");
        assert!(headers.contains("Date: Sat, 21 Nov 2026 00:00:00 +0000"), "{headers}");
    }

    #[tokio::test]
    async fn what_is_no_address_gets_nothing() {
        for bad in [
            "",
            "ann",
            "ann@example.org, eve@example.org",
            "ann@example.org\r\nRCPT TO:<eve@x.org>",
            "<a@b.org>",
            "a b@c.org",
        ] {
            assert!(mail().message(&letter(bad, "Hello")).is_err() && !is_mail_address(bad), "{bad}");
        }
    }

    #[test]
    fn a_sender_is_one_mailbox() {
        assert!(read_sender("Tandem <calls@example.org>").is_some() && read_sender("calls@example.org").is_some());
        for bad in ["", "Tandem", "a@b.org, c@d.org", "Tandem\r\nBcc: x@y.org <calls@example.org>"] {
            assert!(read_sender(bad).is_none(), "{bad}");
        }
    }
}
