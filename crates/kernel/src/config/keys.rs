//! The declaration of every setting. The doc comments here are the comments of tandem.example.toml.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use super::setting::{Key, LogFormat, MailSecurity, PortRange, Setting};
use crate::secret::Secret;

/// Declares a section: struct, defaults and keys. A key without a default shows the example after `e.g.`.
macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident $section:literal {
        $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr $(, e.g. $example:literal)?;)*
    } $(with { $($(#[doc = $inner_doc:literal])+ $inner:ident: $inner_type:ident,)* })?) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $type,)*
            $($($(#[doc = $inner_doc])+ pub $inner: $inner_type,)*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* $($($inner: $inner_type::default(),)*)? }
            }
        }

        impl $name {
            pub(super) const KEYS: &'static [Key] = &[$(Key {
                section: $section,
                name: stringify!($key),
                docs: &[$($doc),+],
                shape: <$type as Setting>::SHAPE,
                check: <$type as Setting>::check,
                example: || {
                    let example: Option<&str> = None $(.or(Some($example)))?;
                    example
                        .map(str::to_owned)
                        .or_else(|| { let value: $type = $default; value.toml() })
                        .unwrap_or_else(|| "\"\"".to_owned())
                },
            }),*];
        }
    };
}

section! {
    /// Everything an operator can set.
    Config "" {
        /// Directory of the database, the files and the server's key.
        data: PathBuf = PathBuf::from("tandem-data");
        /// Name of this node in leases and rows.
        node: String = "node1".into();
        /// Address of the HTTP listener.
        http: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        /// Address of the HTTPS listener; needs tls_cert and tls_key.
        https: Option<SocketAddr> = None, e.g. "\"0.0.0.0:8443\"";
        /// Certificate chain in PEM for HTTPS and SIP over TLS; read again on SIGHUP.
        tls_cert: Option<PathBuf> = None, e.g. "\"/etc/tandem/cert.pem\"";
        /// Private key in PEM of that certificate.
        tls_key: Option<PathBuf> = None, e.g. "\"/etc/tandem/key.pem\"";
        /// Networks of the reverse proxies in front: from them X-Forwarded-For and X-Forwarded-Proto are believed.
        trusted_proxy: Vec<IpNet> = Vec::new(), e.g. "[\"10.0.0.0/8\"]";
        /// How the outside reaches this server, for the links that it hands out. Without it, the HTTP address.
        public_url: Option<String> = None, e.g. "\"https://calls.example.org\"";
        /// Addresses of the SIP listeners, UDP and TCP.
        sip: Vec<SocketAddr> = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5060)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5060))];
        /// Addresses of the SIP listeners over TLS. Without it, once there is a certificate, those of sip one port higher.
        sip_tls: Vec<SocketAddr> = Vec::new(), e.g. "[\"0.0.0.0:5061\"]";
        /// Host names, besides its addresses, by which phones may name this server as their domain.
        sip_names: Vec<String> = Vec::new(), e.g. "[\"sip.example.org\"]";
        /// Name server that is asked where carriers are (NAPTR, SRV). Without it, this machine's own.
        dns: Option<SocketAddr> = None, e.g. "\"10.0.0.53:53\"";
        /// UDP ports for the audio of SIP phones and trunks.
        rtp_ports: PortRange = PortRange { first: 10_000, last: 19_999 };
        /// UDP addresses for the media of browsers: the first media thread takes the port, each other one the next; 0 is any.
        rtc: Vec<SocketAddr> = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 3479)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 3479))];
        /// Address that phones outside send their media to, behind NAT. Without it, the local address of the route to the peer.
        public_ip: Option<IpAddr> = None, e.g. "\"198.51.100.7\"";
        /// The database: sqlite:///path/file.db or postgres://user:password@host/name. Without it, tandem.db in data.
        database: Option<Secret> = None, e.g. "\"postgres://tandem@localhost/tandem\"";
        /// How nodes wake each other. This version runs on one node: local.
        bus: String = "local".into();
        /// Slug of the organisation that keyless pages belong to when their host name is bound to none.
        default_org: Option<String> = None, e.g. "\"dev\"";
        /// Seconds that live calls get to end by themselves after SIGTERM.
        drain_seconds: u32 = 30;
        /// What is logged: error, warn, info, debug, trace, or a filter such as info,voice=debug.
        log: String = "info".into();
        /// text or json.
        log_format: LogFormat = LogFormat::Text;
    } with {
        /// `[limits]`
        limits: LimitConfig,
        /// `[egress]`
        egress: EgressConfig,
        /// `[media]`
        media: MediaConfig,
        /// `[speech]`
        speech: SpeechConfig,
        /// `[mail]`
        mail: MailConfig,
        /// `[sms]`
        sms: SmsConfig,
    }
}

section! {
    /// How often and how many; 0 means no limit.
    LimitConfig "limits" {
        /// New calls a second of one organisation; 0 = no limit, as everywhere in this section.
        calls_per_second: u32 = 100;
        /// Calls of one organisation that may be up at once.
        concurrent_calls: u32 = 2_000;
        /// Live taps (WebSocket and SSE) of one organisation that may be open at once.
        concurrent_taps: u32 = 200;
        /// HTTP requests a minute from one address.
        requests_per_minute_per_ip: u32 = 12_000;
        /// HTTP requests a minute with one credential.
        requests_per_minute_per_token: u32 = 6_000;
        /// REGISTER requests a minute from one address.
        registrations_per_minute_per_ip: u32 = 1_200;
    }
}

section! {
    /// Requests to URLs that users named.
    EgressConfig "egress" {
        /// Targets inside your network that flows and webhooks may reach: a CIDR, an address or a host, with :port or for every port.
        allow: Vec<String> = Vec::new(), e.g. "[\"10.0.0.0/8\", \"crm.internal:8443\"]";
        /// A certificate authority (PEM) to trust besides the system's.
        ca_file: Option<PathBuf> = None, e.g. "\"/etc/tandem/internal-ca.pem\"";
    }
}

section! {
    /// Audio.
    MediaConfig "media" {
        /// Threads that carry audio; 0 = one per core.
        threads: u32 = 0;
        /// Seconds without RTP and RTCP after which an answered leg that is not on hold counts as lost.
        timeout_seconds: u32 = 30;
        /// What browsers may ask for their own addresses (stun:) and for a way round firewalls (turn:, turns:), as URLs. Most need none: the server's address is in every description.
        ice_servers: Vec<String> = Vec::new(), e.g. "[\"turns:turn.example.org:443?transport=tcp\"]";
        /// The secret shared with those turn servers (coturn: static-auth-secret), of which credentials for a day are made.
        turn_secret: Option<Secret> = None;
        /// Also hear digits in the audio itself, for phones that send no RFC 4733 events.
        inband_dtmf: bool = false;
    }
}

section! {
    /// Texts that are spoken.
    SpeechConfig "speech" {
        /// Base URL of an OpenAI-compatible provider; /v1/audio/speech is appended. Without it, the voices of this machine.
        provider: Option<String> = None, e.g. "\"https://speech.example.org\"";
        /// Its key.
        api_key: Option<Secret> = None;
        /// Its model.
        model: String = "tts-1".into();
        /// The voice when a step names none. Without it, rms when the flite program is installed, else kal16.
        voice: Option<String> = None, e.g. "\"rms\"";
    }
}

section! {
    /// Mail to people: invitations, links to sign in, reminders. Without a server it waits in the console's outbox.
    MailConfig "mail" {
        /// The mail server, with :port or the usual one: 587 by starttls, 465 by tls, 25 by none. Without it, mail waits in the console's outbox.
        server: Option<String> = None, e.g. "\"smtp.example.org:587\"";
        /// How the way to it is kept private: starttls, tls from the start, or none, for a server on this machine.
        security: MailSecurity = MailSecurity::Starttls;
        /// The name that we sign in with there, if it asks for one.
        user: Option<String> = None, e.g. "\"tandem\"";
        /// And the password.
        password: Option<Secret> = None;
        /// Whom the mail is from.
        from: Option<String> = None, e.g. "\"Tandem <calls@example.org>\"";
    }
}

section! {
    /// SMS to people: reminders. Without a provider they wait in the console's outbox.
    SmsConfig "sms" {
        /// What an SMS is posted to. A gateway inside your network must stand in egress.allow too. Without it, SMS wait in the console's outbox.
        url: Option<String> = None, e.g. "\"https://api.twilio.com/2010-04-01/Accounts/AC.../Messages.json\"";
        /// The number or name that it is from.
        from: Option<String> = None, e.g. "\"+15005550006\"";
        /// User name, for a provider that wants Basic authentication: Twilio's account SID.
        user: Option<String> = None, e.g. "\"AC...\"";
        /// And the password: Twilio's auth token.
        password: Option<Secret> = None;
        /// A key, for a provider that wants Bearer authentication instead.
        token: Option<Secret> = None;
        /// The JSON that is posted; {to}, {from}, {text} and {id} are filled in. Without it, a form with To, From and Body, as Twilio takes it.
        json: Option<String> = None, e.g. r#"'{"to": "{to}", "from": "{from}", "message": "{text}"}'"#;
    }
}

impl Config {
    /// Sections in the order of the example file.
    pub(super) const SECTIONS: &'static [(&'static str, &'static [Key])] = &[
        ("", Self::KEYS),
        ("limits", LimitConfig::KEYS),
        ("egress", EgressConfig::KEYS),
        ("media", MediaConfig::KEYS),
        ("speech", SpeechConfig::KEYS),
        ("mail", MailConfig::KEYS),
        ("sms", SmsConfig::KEYS),
    ];
}
