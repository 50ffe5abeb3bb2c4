//! What a setting is made of: its declaration, its shape in a variable or flag, and the types peculiar to settings.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};
use toml::Value;

use crate::secret::Secret;

/// One key as it was declared.
#[derive(Debug)]
pub struct Key {
    /// `""` for the top of the file.
    pub section: &'static str,
    /// Name in the file.
    pub name: &'static str,
    /// Lines of its doc comment.
    pub docs: &'static [&'static str],
    /// How a variable or flag is read.
    pub shape: Shape,
    /// Whether a value of the file is good.
    pub(crate) check: fn(Value) -> Result<(), String>,
    /// Default as TOML.
    pub(crate) example: fn() -> String,
}

impl Key {
    /// `section.name`, or the name alone at the top of the file.
    pub fn dotted(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }
}

/// How a setting is written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// true or false.
    Boolean,
    /// Texts with commas between them.
    List,
}

impl Shape {
    /// A variable's or flag's text as a TOML value; what does not fit stays a text, for the check to refuse.
    pub(crate) fn read(self, text: &str) -> Value {
        let as_text = || Value::String(text.to_owned());
        match self {
            Self::Text => as_text(),
            Self::Integer => text.trim().parse().map_or_else(|_| as_text(), Value::Integer),
            Self::Boolean => text.trim().parse().map_or_else(|_| as_text(), Value::Boolean),
            Self::List => Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::String(item.to_owned()))
                    .collect(),
            ),
        }
    }

    /// A list of one may be written in the file as the text alone.
    pub(crate) fn normalise(self, value: Value) -> Value {
        match (self, value) {
            (Self::List, Value::String(text)) => self.read(&text),
            (_, value) => value,
        }
    }
}

/// A type that a setting may have.
pub(crate) trait Setting: for<'de> Deserialize<'de> {
    const SHAPE: Shape;
    /// What is wanted, for whoever gave something else; none when reading the value says it better, or when the value
    /// may not be shown.
    const WANTED: Option<&str> = None;
    /// The value as TOML; none when there is nothing to show.
    fn toml(&self) -> Option<String>;
    fn check(value: Value) -> Result<(), String> {
        let given = value.to_string();
        Self::deserialize(value).map(drop).map_err(|error| match Self::WANTED {
            Some(wanted) => format!("{given} is not {wanted}"),
            None => error.message().trim_end().to_owned(),
        })
    }
}

macro_rules! shown_as_text {
    ($($type:ty: $wanted:expr;)*) => {$(
        impl Setting for $type {
            const SHAPE: Shape = Shape::Text;
            const WANTED: Option<&str> = $wanted;
            fn toml(&self) -> Option<String> {
                Some(format!("\"{self}\""))
            }
        }
    )*};
}
shown_as_text! {
    String: None;
    IpAddr: Some("an IP address such as 198.51.100.7");
    SocketAddr: Some("an address and a port such as 127.0.0.1:8080 or [::]:5060");
    IpNet: Some("a network such as 10.0.0.0/8");
    PortRange: Some("a range of ports such as 10000-19999");
    LogFormat: Some("text or json");
    MailSecurity: Some("starttls, tls or none");
}

impl Setting for PathBuf {
    const SHAPE: Shape = Shape::Text;
    fn toml(&self) -> Option<String> {
        Some(format!("\"{}\"", self.display()))
    }
}

impl Setting for Secret {
    const SHAPE: Shape = Shape::Text;
    fn toml(&self) -> Option<String> {
        None
    }
    /// What was given is not repeated: it may be the secret, without its quotation marks.
    fn check(value: Value) -> Result<(), String> {
        Self::deserialize(value).map(drop).map_err(|_| "this is not a text in quotation marks".to_owned())
    }
}

impl Setting for u32 {
    const SHAPE: Shape = Shape::Integer;
    const WANTED: Option<&str> = Some("a whole number");
    fn toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for bool {
    const SHAPE: Shape = Shape::Boolean;
    const WANTED: Option<&str> = Some("true or false");
    fn toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl<T: Setting> Setting for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    const WANTED: Option<&str> = T::WANTED;
    fn toml(&self) -> Option<String> {
        self.as_ref()?.toml()
    }
    fn check(value: Value) -> Result<(), String> {
        T::check(value)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const SHAPE: Shape = Shape::List;
    const WANTED: Option<&str> = T::WANTED;
    fn toml(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(Setting::toml).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

/// Ports from the first to the last, both included: `10000-19999`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    /// How many ports.
    pub fn count(self) -> u16 {
        (self.last - self.first).saturating_add(1)
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a range of ports such as 10000-19999");
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let port = |part: &str| part.trim().parse::<u16>().ok().filter(|port| *port > 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(wrong()),
        }
    }
}

/// How log lines are written to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("\"{text}\" is neither text nor json")),
        }
    }
}

/// How the way to the mail server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// In the clear until the server has agreed on TLS; without that nothing is sent.
    Starttls,
    /// TLS from the start.
    Tls,
    /// In the clear.
    None,
}

impl MailSecurity {
    /// The port that it usually has (RFC 8314, 3.3).
    pub fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

impl std::fmt::Display for MailSecurity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starttls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        })
    }
}

impl FromStr for MailSecurity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "starttls" => Ok(Self::Starttls),
            "tls" => Ok(Self::Tls),
            "none" => Ok(Self::None),
            _ => Err(format!("\"{text}\" is neither starttls nor tls nor none")),
        }
    }
}

macro_rules! read_from_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
read_from_text!(PortRange, LogFormat, MailSecurity);
