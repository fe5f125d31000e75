//! Cron schedules: the five fields, `@hourly` and its kin, and `@every 1h30m`, as
//! github.com/robfig/cron reads them for the CronJob controller. Pure.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// No schedule is looked at further ahead than this; what never comes, such as 30 February, ends there.
const HORIZON_YEARS: i32 = 5;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What is wrong with a schedule, in robfig/cron's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not five fields.
    #[error("expected exactly 5 fields, found {found}: [{text}]")]
    Fields {
        /// How many there are.
        found: usize,
        /// The whole.
        text: String,
    },
    /// A word after `@` that means nothing.
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    /// A duration after `@every` that is none.
    #[error("failed to parse duration {0}")]
    Every(String),
    /// A range that begins too early, ends too late or backwards, or makes no steps.
    #[error("{0}")]
    Range(String),
    /// A number, range or step that cannot be read.
    #[error("failed to parse field {0}")]
    Field(String),
}

/// A set of small numbers, and whether it was written with a star.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    bits: u64,
    star: bool,
}

impl Set {
    fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.bits & (1 << number) != 0)
    }
}

/// When something is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At these minutes, hours, days of the month, months, days of the week.
    At {
        /// 0 to 59, 0 to 23, 1 to 31, 1 to 12, 0 (Sunday) to 6.
        #[doc(hidden)]
        fields: Fields,
    },
    /// Ever so often.
    Every(Duration),
}

/// The five fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    minute: Set,
    hour: Set,
    day: Set,
    month: Set,
    weekday: Set,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if let Some(word) = text.strip_prefix('@') {
            return Self::described(text, word);
        }
        let words = Vec::from_iter(text.split_whitespace());
        let [minute, hour, day, month, weekday] = words[..] else {
            return Err(Error::Fields {
                found: words.len(),
                text: words.join(" "),
            });
        };
        Ok(Self::At {
            fields: Fields {
                minute: set(minute, 0, 59, &[])?,
                hour: set(hour, 0, 23, &[])?,
                day: set(day, 1, 31, &[])?,
                month: set(month, 1, 12, &MONTHS)?,
                weekday: set(weekday, 0, 6, &DAYS)?,
            },
        })
    }

    fn described(text: &str, word: &str) -> Result<Self, Error> {
        let fields = match word {
            "yearly" | "annually" => "0 0 1 1 *",
            "monthly" => "0 0 1 * *",
            "weekly" => "0 0 * * 0",
            "daily" | "midnight" => "0 0 * * *",
            "hourly" => "0 * * * *",
            _ => {
                let Some(every) = word.strip_prefix("every ") else {
                    return Err(Error::Descriptor(text.to_owned()));
                };
                let every = every.trim();
                let span = every.parse::<jiff::SignedDuration>().ok();
                let span = span.and_then(|span| Duration::try_from(span).ok());
                let whole = span.map(|span| Duration::from_secs(span.as_secs().max(1)));
                return whole
                    .map(Self::Every)
                    .ok_or_else(|| Error::Every(every.to_owned()));
            }
        };
        Self::parse(fields)
    }

    /// The first time after `after`, on the clocks of `zone`; `None` if there is none within five
    /// years.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(every) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                let every = jiff::SignedDuration::try_from(*every).ok()?;
                whole.checked_add(every).ok()
            }
            Self::At { fields } => fields.next(after, zone),
        }
    }
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = after.to_zoned(zone.clone()).datetime();
        let mut date = start.date();
        let last_year = i32::from(date.year()) + HORIZON_YEARS;
        // From the minute after; on later days from midnight.
        let mut from = i32::from(start.hour()) * 60 + i32::from(start.minute()) + 1;
        while i32::from(date.year()) <= last_year {
            if self.has_day(date) {
                for minute in from..24 * 60 {
                    let Some(time) = self.time(minute) else {
                        continue;
                    };
                    let at = zone.to_ambiguous_timestamp(DateTime::from_parts(date, time));
                    // What the clocks skip does not happen.
                    if let Ok(at) = at.compatible()
                        && at > after
                    {
                        return Some(at);
                    }
                }
            }
            date = date.checked_add(1.day()).ok()?;
            from = 0;
        }
        None
    }

    /// The time of this minute of the day, if it is one of the schedule's.
    fn time(&self, minute: i32) -> Option<Time> {
        let hour = i8::try_from(minute / 60).ok()?;
        let minute = i8::try_from(minute % 60).ok()?;
        let is_it = self.hour.has(hour) && self.minute.has(minute);
        is_it.then(|| Time::new(hour, minute, 0, 0).ok()).flatten()
    }

    /// Days of the month and of the week are alternatives, unless one of them is a star.
    fn has_day(&self, date: Date) -> bool {
        let day = self.day.has(date.day());
        let weekday = self.weekday.has(date.weekday().to_sunday_zero_offset());
        let days = if self.day.star || self.weekday.star {
            day && weekday
        } else {
            day || weekday
        };
        days && self.month.has(date.month())
    }
}

/// One field: a list of `*`, `?`, numbers, names, ranges and steps.
fn set(text: &str, low: u32, high: u32, names: &[&str]) -> Result<Set, Error> {
    let wrong = || Error::Field(text.to_owned());
    let number = |word: &str| -> Result<u32, Error> {
        let name = names
            .iter()
            .position(|name| word.eq_ignore_ascii_case(name));
        match name.and_then(|place| u32::try_from(place).ok()) {
            Some(place) => Ok(place + low),
            None => word.parse().map_err(|_| wrong()),
        }
    };
    let mut set = Set {
        bits: 0,
        star: false,
    };
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().map_err(|_| wrong())?)),
            None => (part, None),
        };
        let (first, last) = match range {
            "*" | "?" => {
                set.star |= step.is_none_or(|step| step == 1);
                (low, high)
            }
            _ => match range.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => {
                    let first = number(range)?;
                    // `5/15` goes on to the end.
                    (first, if step.is_some() { high } else { first })
                }
            },
        };
        let step = step.unwrap_or(1);
        let outside = if first < low {
            Some(format!(
                "beginning of range ({first}) below minimum ({low}): {part}"
            ))
        } else if last > high {
            Some(format!(
                "end of range ({last}) above maximum ({high}): {part}"
            ))
        } else if first > last {
            Some(format!(
                "beginning of range ({first}) beyond end of range ({last}): {part}"
            ))
        } else if step == 0 {
            Some(format!("step of range should be a positive number: {part}"))
        } else {
            None
        };
        if let Some(outside) = outside {
            return Err(Error::Range(outside));
        }
        let step = usize::try_from(step).map_err(|_| wrong())?;
        for number in (first..=last).step_by(step) {
            set.bits |= 1 << number;
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let after = after.parse().unwrap();
        let next = Schedule::parse(schedule).unwrap().next(after, &zone);
        next.map_or("never".to_owned(), |next| next.to_string())
    }

    #[test]
    fn schedules_come_round() {
        let after = "2026-01-15T10:07:30Z"; // a Thursday
        let cases = [
            ("*/5 * * * *", "2026-01-15T10:10:00Z"),
            ("7 * * * *", "2026-01-15T11:07:00Z"),
            ("30 8-9 * * mon-fri", "2026-01-16T08:30:00Z"),
            ("0 0 29 feb *", "2028-02-29T00:00:00Z"),
            ("0 0 30 2 *", "never"),
            // Either the 20th or a Saturday.
            ("0 12 20 * 6", "2026-01-17T12:00:00Z"),
            ("0 12 */2 * 6", "2026-01-15T12:00:00Z"),
            ("@weekly", "2026-01-18T00:00:00Z"),
            ("@every 90s", "2026-01-15T10:09:00Z"),
            ("10/20 10 * * ?", "2026-01-15T10:10:00Z"),
        ];
        for (schedule, wanted) in cases {
            assert_eq!(next(schedule, after, "UTC"), wanted, "{schedule}");
        }
        let berlin = next("30 1 * * *", after, "Europe/Berlin");
        assert_eq!(berlin, "2026-01-16T00:30:00Z");
    }

    #[test]
    fn what_is_no_schedule_is_told() {
        let told = |text: &str| Schedule::parse(text).unwrap_err().to_string();
        assert_eq!(told("* * *"), "expected exactly 5 fields, found 3: [* * *]");
        assert_eq!(
            told("61 * * * *"),
            "end of range (61) above maximum (59): 61"
        );
        assert_eq!(told("@often"), "unrecognized descriptor: @often");
        for text in [
            "61 * * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "a * * * *",
            "5-1 * * * *",
            ", * * * *",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }
}
