//! The Date header's value (RFC 9110 §6.6.1, IMF-fixdate of §5.6.7), formatted once per second.

use crate::proto::digits::fill;
use crate::stdx::clock::civil_date;

const SECONDS_PER_DAY: u64 = 86_400;
/// The last second that a four-digit year can show: 9999-12-31T23:59:59Z.
const UNIX_SECONDS_MAX: u64 = 253_402_300_799;

const DAY_NAMES: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTH_NAMES: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// A point in time as a Date header shows it. Keep one per thread and `set` it each turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date {
    unix_seconds: u64,
    text: [u8; 29],
}

impl Date {
    /// The date of a time in seconds since 1970-01-01 UTC; times after the year 9999 are cut to it.
    #[must_use]
    pub fn new(unix_seconds: u64) -> Date {
        Date { unix_seconds, text: format(unix_seconds.min(UNIX_SECONDS_MAX)) }
    }

    /// Moves to another time; costs a comparison while the second is the same.
    pub fn set(&mut self, unix_seconds: u64) {
        if self.unix_seconds != unix_seconds {
            *self = Date::new(unix_seconds);
        }
    }

    /// The header's value, ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 29] {
        &self.text
    }
}

fn format(unix_seconds: u64) -> [u8; 29] {
    let days = unix_seconds / SECONDS_PER_DAY;
    let second = unix_seconds % SECONDS_PER_DAY;
    let (year, month, day) = civil_date(days);
    let mut text = *b"ddd, 00 mmm 0000 00:00:00 GMT";
    text[..3].copy_from_slice(DAY_NAMES[place(days % 7)]);
    text[8..11].copy_from_slice(MONTH_NAMES[place(month - 1)]);
    fill(&mut text[5..7], day);
    fill(&mut text[12..16], year);
    fill(&mut text[17..19], second / 3600);
    fill(&mut text[20..22], second / 60 % 60);
    fill(&mut text[23..25], second % 60);
    text
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("a remainder of a small divisor")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values by `date -u -d @N`.
    #[test]
    fn known_dates() {
        for (unix_seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let date = Date::new(unix_seconds);
            assert_eq!(str::from_utf8(date.as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn setting_moves_in_both_directions() {
        let mut date = Date::new(100);
        date.set(99);
        assert_eq!(date, Date::new(99));
        date.set(1_000_000_000);
        assert_eq!(date, Date::new(1_000_000_000));
    }

    /// Day by day over eight centuries against the calendar's rule.
    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..292_200 {
            assert_eq!(civil_date(days), (year, month, day));
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let month_size = match month {
                2 => 28 + u64::from(is_leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > month_size {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
