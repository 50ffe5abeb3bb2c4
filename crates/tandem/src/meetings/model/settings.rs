//! What an application decides about its meetings, as it stands in the application's settings.
//! Invariant: what is stored was checked, so that reading never fails; a value of an older release that no longer is
//! one is taken for the default.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::MAX_DURATION_MS;
use kernel::zones;

/// The one setting that is a secret.
pub const LEGACY_SECRET: &str = "legacy_verifier_secret";
/// Purpose under which `legacy_verifier_secret` is sealed.
pub const LEGACY_SECRET_PURPOSE: &str = "app.legacy_verifier_secret";
/// The settings by name.
pub const SETTING_NAMES: [&str; 11] = [
    "time_zone",
    "duration_unit",
    "auto_start",
    "talk_warning_s",
    "extend_max_s",
    "reconnect_s",
    "record",
    "veto_url",
    "number_pool",
    "legacy_verifier_secret",
    "remind_before_s",
];
/// Most numbers of a pool.
const MAX_POOL: usize = 100;
/// Length of a secret of the tokens of before, in bytes; Rails makes it of 128 digits. What is shorter could be guessed, and
/// is rather a word such as `true`.
const LEGACY_SECRET_BYTES: RangeInclusive<usize> = 32..=512;
/// A reminder goes out at most so long before, in seconds (30 days).
const MAX_REMIND_S: i64 = 30 * 24 * 3_600;

/// What `meeting[duration]` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DurationUnit {
    /// As document 000.
    #[default]
    Minutes,
    /// Seconds.
    Seconds,
}

impl DurationUnit {
    /// The word of the setting.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minutes => "minutes",
            Self::Seconds => "seconds",
        }
    }

    /// One of them, milliseconds.
    #[must_use]
    pub fn ms(self) -> i64 {
        match self {
            Self::Minutes => 60_000,
            Self::Seconds => 1_000,
        }
    }
}

/// The settings of one application. Ends of names tell units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// IANA name: the zone of a `start_at` that names none.
    pub time_zone: String,
    /// What `meeting[duration]` counts.
    pub duration_unit: DurationUnit,
    /// Whether the server calls both at the start.
    pub auto_start: bool,
    /// The two are warned so long before the limit, seconds; 0 = not.
    pub talk_warning_s: i64,
    /// By how much the two may extend a meeting themselves, together, seconds.
    pub extend_max_s: i64,
    /// How long either may call again after they were parted, seconds; 0 = not.
    pub reconnect_s: i64,
    /// Whether calls are recorded, after an announcement.
    pub record: bool,
    /// Asked before each call; 403 blocks it.
    pub veto_url: Option<String>,
    /// Own numbers that the two see instead of each other's.
    pub number_pool: Vec<String>,
    /// The `secret_key_base` that verifies tokens of before, sealed for [`LEGACY_SECRET_PURPOSE`]. None = they are
    /// refused.
    pub legacy_verifier_secret: Option<String>,
    /// The two are reminded so long before the start, and told of changes, seconds; none = never.
    pub remind_before_s: Option<i64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            time_zone: "UTC".into(),
            duration_unit: DurationUnit::Minutes,
            auto_start: false,
            talk_warning_s: 60,
            extend_max_s: 3_600,
            reconnect_s: 180,
            record: false,
            veto_url: None,
            number_pool: Vec::new(),
            legacy_verifier_secret: None,
            remind_before_s: None,
        }
    }
}

impl Settings {
    /// The settings of an application as they are stored.
    #[must_use]
    pub fn read(stored: &BTreeMap<String, String>) -> Self {
        let mut settings = Self::default();
        for (name, value) in stored {
            // Checked when it was stored.
            let _ = settings.set(name, value);
        }
        settings
    }

    /// Whether `value` is one of the setting `name`, which must be one of [`SETTING_NAMES`]. An empty value puts a
    /// setting back to its default. The legacy secret is checked before it is sealed.
    ///
    /// # Errors
    /// What is expected, for people.
    pub fn check(name: &str, value: &str) -> Result<(), &'static str> {
        if value.is_empty() {
            return Ok(());
        }
        match name {
            "legacy_verifier_secret" if LEGACY_SECRET_BYTES.contains(&value.len()) => Ok(()),
            "legacy_verifier_secret" => Err("the secret_key_base itself, of 32 to 512 bytes"),
            _ => Self::default().set(name, value),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            "time_zone" => {
                zones::parse_zone(value).ok_or("the IANA name of a time zone, such as Europe/London")?;
                value.clone_into(&mut self.time_zone);
            }
            "duration_unit" => {
                self.duration_unit = [DurationUnit::Minutes, DurationUnit::Seconds]
                    .into_iter()
                    .find(|unit| unit.as_str() == value)
                    .ok_or("minutes or seconds")?;
            }
            "auto_start" => self.auto_start = flag(value)?,
            "talk_warning_s" => self.talk_warning_s = seconds(value, MAX_DURATION_MS / 1_000)?,
            "extend_max_s" => self.extend_max_s = seconds(value, MAX_DURATION_MS / 1_000)?,
            "reconnect_s" => self.reconnect_s = seconds(value, MAX_DURATION_MS / 1_000)?,
            "record" => self.record = flag(value)?,
            "veto_url" => {
                let url = url::Url::parse(value).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
                self.veto_url = Some(url.ok_or("an http or https URL")?.into());
            }
            "number_pool" => self.number_pool = numbers(value)?,
            "legacy_verifier_secret" => self.legacy_verifier_secret = Some(value.to_owned()),
            "remind_before_s" => {
                self.remind_before_s = Some(seconds(value, MAX_REMIND_S)?).filter(|seconds| *seconds > 0);
            }
            _ => return Err("no setting of meetings"),
        }
        Ok(())
    }

    /// See [`Settings::extend_max_s`], milliseconds.
    #[must_use]
    pub fn extend_max_ms(&self) -> i64 {
        self.extend_max_s.saturating_mul(1_000)
    }

    /// See [`Settings::reconnect_s`], milliseconds.
    #[must_use]
    pub fn reconnect_ms(&self) -> i64 {
        self.reconnect_s.saturating_mul(1_000)
    }

    /// See [`Settings::remind_before_s`], milliseconds.
    #[must_use]
    pub fn remind_before_ms(&self) -> Option<i64> {
        self.remind_before_s.map(|seconds| seconds.saturating_mul(1_000))
    }
}

fn flag(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false"),
    }
}

fn seconds(value: &str, most: i64) -> Result<i64, &'static str> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = value.parse().ok().filter(|seconds| digits && (0..=most).contains(seconds));
    seconds.ok_or("a whole number of seconds, not too large")
}

/// Numbers joined by commas.
fn numbers(value: &str) -> Result<Vec<String>, &'static str> {
    let numbers: Vec<String> = value.split(',').map(|number| number.trim().to_owned()).collect();
    let good = |number: &String| {
        let digits = number.strip_prefix('+').unwrap_or(number);
        (2..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    if numbers.len() <= MAX_POOL && numbers.iter().all(good) {
        Ok(numbers)
    } else {
        Err("own numbers joined by commas, at most 100")
    }
}
