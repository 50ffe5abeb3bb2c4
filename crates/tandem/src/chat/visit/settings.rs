//! How an application's widget looks and when somebody is there, as it stands in the application's settings.
//!
//! Invariant: what is stored was checked, so that reading never fails; everything here may be known by everybody, but for
//! the address that messages are sent to.

use std::collections::BTreeMap;

use kernel::zones::{Zone, parse_zone};

use super::hours::Hours;
use super::words::LOCALES;

/// The settings by name.
pub const SETTING_NAMES: [&str; 10] = [
    "widget_title",
    "widget_greeting",
    "widget_accent",
    "widget_theme",
    "widget_position",
    "widget_locale",
    "widget_product",
    "widget_hours",
    "widget_zone",
    "widget_offline_email",
];
/// What a chat from a page is about when nothing else is said (contract, row 3).
const DEFAULT_PRODUCT: &str = "LOGIN";
const DEFAULT_ACCENT: Colour = Colour(0x0b, 0x6b, 0x6b);
const BLACK: Colour = Colour(0, 0, 0);
const WHITE: Colour = Colour(0xff, 0xff, 0xff);
/// Longest title, greeting and name of a product, characters.
const MAX_TITLE: usize = 80;
const MAX_GREETING: usize = 1_000;
const MAX_PRODUCT: usize = 100;
const MAX_EMAIL: usize = 320;

/// A colour by its parts of red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(u8, u8, u8);

impl Colour {
    /// `#0b6b6b`.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
        let part = |at: usize| digits.get(at..at + 2).and_then(|part| u8::from_str_radix(part, 16).ok());
        Some(Self(part(0)?, part(2)?, part(4)?))
    }

    /// As style sheets write it.
    #[must_use]
    pub fn css(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }

    /// The colour of words on it: white or black, whichever is read better; one of them always has 4.5 (WCAG AA).
    #[must_use]
    pub fn words(self) -> Self {
        if self.contrast(WHITE) >= self.contrast(BLACK) { WHITE } else { BLACK }
    }

    /// Of 1 to 21 (WCAG 2.2, "contrast ratio").
    fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    fn luminance(self) -> f64 {
        let linear = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }
}

/// The settings of one application's widget.
#[derive(Clone, Debug)]
pub struct WidgetSettings {
    /// Stands at its head; empty = the application's name.
    pub title: String,
    /// The first words; empty = those of the visitor's language.
    pub greeting: String,
    /// Of its head and its buttons.
    pub accent: Colour,
    /// `auto`, `light` or `dark`.
    pub theme: String,
    /// In which corner the button is: `right` or `left`.
    pub position: String,
    /// A language, or `auto`.
    pub locale: String,
    /// What a chat is about when the page does not say.
    pub product: String,
    /// When somebody is there.
    pub hours: Hours,
    /// Of the hours.
    pub zone: Option<Zone>,
    /// Where a message goes that is left while nobody is there; none = visitors write as ever.
    pub offline_email: Option<String>,
}

impl Default for WidgetSettings {
    fn default() -> Self {
        Self {
            title: String::new(),
            greeting: String::new(),
            accent: DEFAULT_ACCENT,
            theme: "auto".to_owned(),
            position: "right".to_owned(),
            locale: "auto".to_owned(),
            product: DEFAULT_PRODUCT.to_owned(),
            hours: Hours::default(),
            zone: parse_zone("UTC"),
            offline_email: None,
        }
    }
}

impl WidgetSettings {
    /// The settings of an application as they are stored.
    #[must_use]
    pub fn read(stored: &BTreeMap<String, String>) -> Self {
        let mut settings = Self::default();
        for name in SETTING_NAMES {
            if let Some(value) = stored.get(name) {
                // Checked when it was stored.
                let _ = settings.set(name, value);
            }
        }
        settings
    }

    /// Whether `value` is one of the setting `name`, which must be one of [`SETTING_NAMES`]. An empty value puts a
    /// setting back to its default.
    ///
    /// # Errors
    /// What is expected, for people.
    pub fn check(name: &str, value: &str) -> Result<(), &'static str> {
        if value.is_empty() { Ok(()) } else { Self::default().set(name, value) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "widget_title" => self.title = line(value, MAX_TITLE).ok_or("a line of at most 80 characters")?,
            "widget_greeting" => self.greeting = text(value, MAX_GREETING).ok_or("at most 1000 characters")?,
            "widget_accent" => self.accent = Colour::parse(value).ok_or("a colour such as #0b6b6b")?,
            "widget_theme" => self.theme = one_of(value, &["auto", "light", "dark"]).ok_or("auto, light or dark")?,
            "widget_position" => self.position = one_of(value, &["right", "left"]).ok_or("right or left")?,
            "widget_locale" => {
                let known = value == "auto" || LOCALES.contains(&value);
                self.locale = known.then(|| value.to_owned()).ok_or("auto, or a language that the chat speaks")?;
            }
            "widget_product" => self.product = line(value, MAX_PRODUCT).ok_or("a line of at most 100 characters")?,
            "widget_hours" => {
                self.hours = Hours::parse(value).ok_or("hours such as mon-fri 09:00-17:00, sat 10:00-14:00")?;
            }
            "widget_zone" => self.zone = Some(parse_zone(value).ok_or("the IANA name of a zone")?),
            "widget_offline_email" => self.offline_email = Some(email(value).ok_or("a mail address")?),
            _ => return Err("no setting of the widget"),
        }
        Ok(())
    }

    /// Whether somebody is there at a time, UTC milliseconds.
    #[must_use]
    pub fn is_open(&self, at_ms: i64) -> bool {
        self.zone.as_ref().is_none_or(|zone| self.hours.is_open(at_ms, zone))
    }

    /// When somebody is there again, UTC milliseconds; none while somebody is there.
    #[must_use]
    pub fn opens_ms(&self, at_ms: i64) -> Option<i64> {
        let zone = self.zone.as_ref().filter(|_| !self.is_open(at_ms))?;
        self.hours.next_opening(at_ms, zone)
    }
}

/// A mail address as far as it can be judged by looking at it.
pub(in crate::chat) fn email(text: &str) -> Option<String> {
    let (name, host) = text.trim().rsplit_once('@')?;
    let is_plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
    let is_good = is_plain(name) && is_plain(host) && !host.starts_with('.') && text.len() <= MAX_EMAIL;
    is_good.then(|| text.trim().to_owned())
}

/// A line of text that says something.
pub(super) fn line(text: &str, max: usize) -> Option<String> {
    let text = text.trim();
    let is_good = !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control);
    is_good.then(|| text.to_owned())
}

fn text(text: &str, max: usize) -> Option<String> {
    (text.chars().count() <= max && !text.chars().any(|c| c.is_control() && c != '\n')).then(|| text.to_owned())
}

fn one_of(value: &str, words: &[&str]) -> Option<String> {
    words.contains(&value).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_can_be_read_on_every_accent() {
        for red in (0..=255).step_by(15) {
            for green in (0..=255).step_by(15) {
                for blue in (0..=255).step_by(15) {
                    let colour = Colour(red, green, blue);
                    assert!(colour.contrast(colour.words()) >= 4.5, "{}", colour.css());
                }
            }
        }
        assert_eq!(Colour::parse("#0b6b6b"), Some(DEFAULT_ACCENT));
        assert!((WHITE.contrast(Colour(0, 0, 0)) - 21.0).abs() < 0.001);
        for bad in ["0b6b6b", "#0b6b6", "#0b6b6g", "red", "#éé"] {
            assert_eq!(Colour::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_setting_is_refused_and_what_is_stored_is_read() {
        for (name, good, bad) in [
            ("widget_title", "Acme", "a\nb"),
            ("widget_accent", "#ffffff", "white"),
            ("widget_theme", "dark", "blue"),
            ("widget_position", "left", "middle"),
            ("widget_locale", "ar", "xx"),
            ("widget_hours", "mon-fri 09:00-17:00", "always"),
            ("widget_zone", "Asia/Tokyo", "Moon/Base"),
            ("widget_offline_email", "desk@acme.example", "desk"),
            ("widget_colour", "", "#ffffff"),
        ] {
            assert_eq!(WidgetSettings::check(name, good), Ok(()), "{name}");
            assert!(WidgetSettings::check(name, bad).is_err(), "{name}");
        }
        let pairs = [("widget_title", "Acme"), ("widget_hours", "mon 09:00-10:00"), ("widget_zone", "Europe/Berlin")];
        let stored: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let settings = WidgetSettings::read(&stored);
        assert_eq!((settings.title.as_str(), settings.position.as_str()), ("Acme", "right"));
        let sunday_ms = "2026-11-22T12:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
        assert!(!settings.is_open(sunday_ms));
        assert_eq!(settings.opens_ms(sunday_ms), Some(sunday_ms + 20 * 3_600_000), "Monday, 8 h UTC");
        assert_eq!(WidgetSettings::default().opens_ms(sunday_ms), None);
    }
}
